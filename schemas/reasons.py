"""Why a record became a dead letter; the one list of reasons, for writers, readers and people."""

from __future__ import annotations

from enum import StrEnum


class DeadLetterReason(StrEnum):
    """Header ``reason`` of a dead letter (docs/contract.md, "Dead letters")."""

    UNDECODABLE = "UNDECODABLE"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    INCONSISTENT = "INCONSISTENT"
    NO_START = "NO_START"
    WRONG_PARTITION = "WRONG_PARTITION"
    OVERSIZE = "OVERSIZE"
    QUARANTINED = "QUARANTINED"
