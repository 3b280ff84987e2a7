"""Findings as they change while an episode is recorded, and as they stand when it closes."""

from __future__ import annotations

from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import FindingChange, JsonDict
from kinestream.streams.quality import Delivery, Judgement


def identity(episode: Episode) -> JsonDict:
    """Whose finding it is."""
    start = episode.start.value
    names = ("tenant", "robot_id", "model_id", "episode_id", "skill")
    rules = {"stored_day": episode.stored_day, "rule_version": episode.judge.rules.version}
    return {name: start[name] for name in names} | rules


def live_delivery(episode: Episode) -> Delivery:
    """What has arrived of the frames up to the frontier: holes still waited for are not lost."""
    unique = min(episode.frontier, episode.judged + episode.behind)
    first = episode.first_missing if unique < episode.frontier else -1
    return Delivery(episode.frontier, unique, episode.duplicates, episode.conflicting, "OPEN", first)


def live_changes(episode: Episode, now_ms: int) -> list[FindingChange]:
    """Findings that appeared, grew worse or went since the last call."""
    changes = episode.lamps.diff(episode.judge.live(live_delivery(episode)))
    if not changes:
        return []
    whose = identity(episode)
    return [FindingChange(state, finding, whose, True, 0, now_ms) for state, finding in changes]


def final_changes(episode: Episode, judgement: Judgement, revision: int, closed_ms: int) -> tuple[FindingChange, ...]:
    """The findings of a revision, and CLEARED for each, provisional or of the revision before, that no longer holds."""
    whose = identity(episode)
    holds = {finding.finding_id for finding in judgement.findings}
    gone = [f for f in episode.lamps.lit if f.finding_id not in holds]
    return tuple(
        FindingChange(state, finding, whose, False, revision, closed_ms)
        for state, findings in (("RAISED", judgement.findings), ("CLEARED", gone))
        for finding in findings
    )
