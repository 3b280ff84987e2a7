"""The timing clauses of GB/Z 218.1-2026 as a block of their own. Says "aligned with", never that anything conforms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

STANDARD: Final = "GB/Z 218.1-2026"


class _Clause(NamedTuple):
    subject: str
    #: "" = the standard's number is not known to us
    number: str
    metric: str
    limit: float


#: The standard's own limits, whatever our rules say. It limits consecutive loss: all loss together is the stricter
#: reading. Of missing fields it allows 5 % in core ones and 20 % in others: 5 % of all values is the stricter one.
_CLAUSES: Final = (
    _Clause("jitter", "6.2.2.3", "T2.steady", 0.10),
    _Clause("loss", "", "T5", 0.01),
    _Clause("alignment", "6.2.5.2", "T10.step", 0.001),
    _Clause("missing fields", "6.2.2.1", "I1", 0.05),
)
_SLACK: Final = 1 + 1e-9


def aligned_with(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``rows``: an episode's metrics as JSON ({id, joint, value, unit, flag}); the block, ready for JSON.

    ``within`` is None where the metric was not evaluated: that is no pass.
    """
    whole = {row["id"]: row for row in rows if not row["joint"]}
    return {"standard": STANDARD, "claim": "aligned with", "clauses": [_told(one, whole) for one in _CLAUSES]}


def _told(one: _Clause, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    row = rows.get(one.metric)
    value = None if row is None or row["flag"] == "NOT_EVALUATED" else row["value"]
    return {
        "subject": one.subject,
        "clause": one.number,
        "metric": one.metric,
        "value": value,
        "unit": row["unit"] if row else "",
        "limit": one.limit,
        "within": None if value is None else abs(value) <= one.limit * _SLACK,
    }
