"""Findings as they change while an episode is recorded, and as they stand when it closes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from kinestream.schemas.skills import load_skills
from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import FindingChange, JsonDict
from kinestream.streams.quality import Delivery, Finding, Flag, Judgement, LampBook
from kinestream.streams.quality.model import Origin, make_finding, say


def identity(episode: Episode) -> JsonDict:
    """Whose finding it is."""
    names = ("tenant", "robot_id", "model_id", "episode_id", "skill")
    rules = {"stored_day": episode.stored_day, "rule_version": episode.frontier.judge.rule_version}
    return {name: episode.label(name) for name in names} | rules


def live_delivery(episode: Episode) -> Delivery:
    """What has arrived of the frames up to the frontier: holes still waited for are not lost."""
    front = episode.frontier
    unique = min(front.at, front.judged + front.behind)
    first = front.first_missing if unique < front.at else -1
    return Delivery(front.at, unique, episode.duplicates, episode.conflicting, "OPEN", first, episode.first_conflict)


def conflict_of_ids(episode: Episode) -> tuple[Finding, ...]:
    """ID_CONFLICT: two processes bore the robot's name at the same time; their takes are kept apart by episode_id."""
    if episode.rivals.proven < 0:
        return ()
    judge = episode.frontier.judge
    message = f"another process calls itself {episode.robot_id} at the same time"
    return (
        make_finding(
            judge.context,
            judge.span,
            "ID_CONFLICT",
            flag=Flag.SUSPECT,
            value=math.nan,
            unit="",
            threshold=math.nan,
            origin=Origin.OURS,
            first_seq=0,
            message=message,
        ),
    )


def unlisted_labels(episode: Episode) -> tuple[Finding, ...]:
    """LABEL_UNLISTED: a skill or area that schemas/skills.yaml does not list; kept as it is, it changes no verdict."""
    listed, judge = load_skills(), episode.frontier.judge
    given = {"skill": (episode.label("skill"), listed.skill), "area": (episode.label("area"), listed.area)}
    return tuple(
        make_finding(
            judge.context,
            judge.span,
            "LABEL_UNLISTED",
            joint=name,
            flag=Flag.SUSPECT,
            value=math.nan,
            unit="",
            threshold=math.nan,
            origin=Origin.OURS,
            first_seq=0,
            **say(f"LABEL_UNLISTED.{name}", given=value[:80]),
        )
        for name, (value, look_up) in given.items()
        if value and look_up(value) is None
    )


def live_changes(episode: Episode, now_ms: int) -> list[FindingChange]:
    """Findings that appeared, grew worse or went since the last call."""
    changes = episode.lamps.diff(episode.frontier.judge.live(live_delivery(episode)))
    if not changes:
        return []
    whose = identity(episode)
    return [FindingChange(state, finding, whose, True, 0, now_ms) for state, finding in changes]


def light(episode: Episode, told: Iterable[FindingChange]) -> None:
    """Take final findings that were told for an episode that did not come to be announced as lit."""
    raised = [change.finding for change in told if change.state == "RAISED"]
    episode.lamps = LampBook([*episode.lamps.lit, *raised])


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
