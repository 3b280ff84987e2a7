"""What Grafana and its ClickHouse plugin 4.20 make of a query before it is sent, for tests and for the preview.

Two passes, as there: the front end settles ``$__conditionalAll`` and the variables, the plugin's backend the macros.
Nothing is sent from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from kinestream.schemas.errors import ContractError

_MACRO: Final = re.compile(r"\$__(\w+)")
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)(\w+)")
_CONDITIONAL: Final = "$__conditionalAll("
#: Grafana's own steps for an interval, seconds.
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Window:
    """What a viewer chose: UTC from and to, seconds of an interval, and the values of variables (none = All)."""

    start: datetime
    end: datetime
    interval_s: int = 300
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)


def interval_s(start: datetime, end: datetime, points: int, least_s: int = 1) -> int:
    """Seconds of an interval for about ``points`` of them in a window, on Grafana's steps, at least ``least_s``."""
    wanted = (end - start).total_seconds() / max(points, 1)
    return max(least_s, next((step for step in _STEPS if step >= wanted), _STEPS[-1]))


def expand(sql: str, window: Window) -> str:
    """The SQL that the store receives; :class:`ContractError` for a macro or variable nobody knows."""
    sql = _settle_conditions(sql, window)
    sql = _VARIABLE.sub(lambda at: _value(at[1] or at[3], at[2] or "", window), sql)
    return _apply_macros(sql, window)


def _settle_conditions(sql: str, window: Window) -> str:
    while (at := sql.rfind(_CONDITIONAL)) >= 0:
        (condition, variable), end = _arguments(sql, at + len(_CONDITIONAL) - 1)
        chosen = window.chosen.get(variable.strip().lstrip("$").strip("{}"))
        sql = sql[:at] + (condition if chosen else "1=1") + sql[end:]
    return sql


def _value(name: str, style: str, window: Window) -> str:
    if name not in window.chosen:
        raise ContractError(f"${name}: variables outside $__conditionalAll need a value; there are {[*window.chosen]}")
    escapes = {"sqlstring": "''", "singlequote": "\\'"}
    if style not in escapes:
        raise ContractError(f"${{{name}:{style}}}: text in SQL is quoted by {' or '.join(escapes)}")
    return ",".join("'" + one.replace("'", escapes[style]) + "'" for one in window.chosen[name])


def _apply_macros(sql: str, window: Window) -> str:
    parts, done = [], 0
    for at in _MACRO.finditer(sql):
        if at.start() < done:
            raise ContractError(f"{at[0]} stands inside another macro, which the plugin does not expand")
        if at[1] not in _MACROS:
            raise ContractError(f"{at[0]} is no macro; there are {', '.join(f'$__{one}' for one in _MACROS)}")
        arguments, end = _arguments(sql, at.end()) if sql[at.end() : at.end() + 1] == "(" else ([], at.end())
        parts += [sql[done : at.start()], _MACROS[at[1]](window, *arguments)]
        done = end
    return "".join(parts) + sql[done:]


def _arguments(sql: str, start: int) -> tuple[list[str], int]:
    """The arguments of the call whose bracket opens at ``start``, and where it ends; quotes mean nothing, as there."""
    depth, found, begin = 0, [], start + 1
    for at in range(start, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if depth == 0 or (depth == 1 and sql[at] == ","):
            found.append(sql[begin:at].strip())
            begin = at + 1
        if depth == 0:
            return found, at + 1
    raise ContractError(f"a bracket is not closed: {sql[start : start + 40]}")


def _seconds(moment: datetime) -> str:
    return f"toDateTime({int(moment.timestamp())})"


def _millis(moment: datetime) -> str:
    return f"fromUnixTimestamp64Milli({int(moment.timestamp() * 1000)})"


def _date(moment: datetime) -> str:
    return f"toDate('{moment.astimezone(UTC):%Y-%m-%d}')"


def _between(literal: Callable[[datetime], str]) -> Callable[[Window, str], str]:
    return lambda w, column: f"{column} >= {literal(w.start)} AND {column} <= {literal(w.end)}"


_MACROS: Final[Mapping[str, Callable[..., str]]] = {
    "fromTime": lambda w: _seconds(w.start),
    "toTime": lambda w: _seconds(w.end),
    "fromTime_ms": lambda w: _millis(w.start),
    "toTime_ms": lambda w: _millis(w.end),
    "timeFilter": _between(_seconds),
    "timeFilter_ms": _between(_millis),
    "dateFilter": _between(_date),
    "timeInterval": lambda w, column: f"toStartOfInterval(toDateTime({column}), INTERVAL {w.interval_s} second)",
    "interval_s": lambda w: str(w.interval_s),
}
