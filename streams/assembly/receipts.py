"""What a robot's spool is told of a revision; made from the episode's row alone, so that a repeat says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kinestream.streams.assembly.values import JsonDict

PLAIN: Final = ("tenant", "robot_id", "episode_id", "revision", "status", "frames", "content_hash")


def receipt_of(row: Mapping[str, Any]) -> JsonDict:
    """Fields of EpisodeReceipt, to be published once the revision is announced. ``row``: :attr:`Closed.row`."""
    facts = row["facts"]
    return {
        **{name: row[name] for name in PLAIN},
        "n_total": facts["n_total"],
        "missing": [{"first": first, "last": last} for first, last in row["missing_ranges"]],
        "missing_ranges": facts["missing_range_count"],
        "hash_verified": bool(row["hash_verified"]),
        "final": bool(row["final"]),
    }
