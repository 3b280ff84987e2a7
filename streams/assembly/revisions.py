"""Why a revision exists, and whether it would say anything that the last one does not; builds no row and no event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import xxhash

from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import CORRECT, RESCORE, REVIEW, WITHDRAW, JsonDict, Review
from kinestream.streams.quality import Finding, Judgement

#: Why a revision exists that a command asked for.
REASONS: Final = {CORRECT: "CORRECTED", RESCORE: "RESCORED", REVIEW: "REVIEWED", WITHDRAW: "WITHDRAWN"}
#: Of what is compared with the last revision, what judging alone can change.
JUDGED: Final = ("rule_version", "verdict", "findings")
LABELS: Final = ("tenant", "robot_id", "model_id", "boot_id", "episode_no", "skill", "area", "site", "station",
                 "operator", "job", "task")  # fmt: skip


def compared_of(episode: Episode, status: str, digest: str, judgement: Judgement) -> JsonDict:
    """What a revision says, as far as it can differ from another."""
    labels = {name: episode.label(name) for name in LABELS}
    return {
        "status": status,
        "outcome": outcome_of(episode),
        "labels": labels,
        "marks": xxhash.xxh3_128_hexdigest(b"".join(mark.raw for mark in episode.marks)),
        "content_hash": digest,
        "review": _said(episode.review),
        "rule_version": judgement.rule_version,
        "verdict": judgement.verdict,
        "findings": _gist(judgement.findings),
    }


def _said(review: Review | None) -> list[str] | None:
    return [review.verdict, review.by, review.note] if review else None


def _gist(findings: Sequence[Finding]) -> str:
    """What of findings makes a verdict: no value, whose last digits are nobody's matter."""
    told = sorted((f.finding_id, f.flag, f"{f.threshold:.9g}") for f in findings)
    return xxhash.xxh3_128_hexdigest(json.dumps(told).encode())


def says_more(compared: JsonDict, episode: Episode) -> bool:
    """Whether a revision would say anything that the last one does not; other rules alone are no news."""
    before = episode.history.compared
    if any(compared[name] != before.get(name) for name in compared if name not in JUDGED):
        return True
    if compared["rule_version"] == before.get("rule_version") and not episode.rescored:
        return False
    return any(compared[name] != before.get(name) for name in ("verdict", "findings"))


def outcome_of(episode: Episode) -> str:
    """What the robot or its operator claims."""
    return str(episode.end.value["outcome"]) if episode.end else "UNKNOWN"


def reason_of(episode: Episode) -> str:
    """RevisionReason of the event."""
    if episode.withdrawn:
        return "WITHDRAWN"
    if episode.commanded and episode.command is not None:
        return REASONS[episode.command.kind]
    return "LATE_FRAMES" if episode.reopened else "CLOSED"
