"""The demo's verdict over known runs: each way of not being whole is seen, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kinestream.deploy.demo.measurement import (
    Event,
    FindingSeen,
    Latency,
    Measurement,
    Observed,
    StoredEpisode,
    count_repeats,
    measure,
    missing,
    wrong_findings,
)
from kinestream.deploy.demo.published import Fault, Published, Take

S = 1_000_000_000
FAULT = Fault("I1", "elbow", 50 * S)


def event(episode: str, revision: int = 1, payload: bytes = b"p", read_ns: int = 100 * S, content: str = "") -> Event:
    return Event(episode, f"{episode}/{revision}", payload, read_ns, (content or f"{episode} {revision}",))


def finding(episode: str = "a", **changed: object) -> FindingSeen:
    one = FindingSeen(
        f"f-{episode}", episode, f"robot-{episode}", "I1", "elbow", "FAIL", "elbow: bad", "RAISED", 51 * S
    )
    return replace(one, **changed)


@pytest.fixture
def whole() -> Observed:
    """Two takes that arrived, one with a fault that was found."""
    takes = {
        name: Take(name, f"robot-{name}", frames, f"hash-{name}", 99 * S, faults)
        for name, frames, faults in (("a", 400, [FAULT]), ("b", 500, []))
    }
    stored = {name: StoredEpisode(name, "COMPLETE", take.frames, take.content_hash) for name, take in takes.items()}
    events = [event("a", read_ns=99 * S + 200_000_000), event("b", read_ns=99 * S + 400_000_000)]
    return Observed(Published(takes), events, stored, [finding()])


def figures(seen: Observed) -> Measurement:
    return measure(seen, broker="kafka", store="embedded", robots=2, seconds=12.34)


def lacks(seen: Observed) -> list[str]:
    return missing(seen, figures(seen))


def test_a_whole_run_has_every_figure_and_lacks_nothing(whole: Observed) -> None:
    assert lacks(whole) == []
    assert figures(whole).document() == {
        "broker": "kafka",
        "store": "embedded",
        "robots": 2,
        "episodes_published": 2,
        "episodes_completed": 2,
        "episodes_announced": 2,
        "episodes_stored": 2,
        "frames_published": 900,
        "frames_stored": 900,
        "lost_frames": 0,
        "hash_mismatches": 0,
        "visible_duplicates": 0,
        "repeated_events": 0,
        "faults_injected": 1,
        "faults_caught": 1,
        "wrong_findings": 0,
        "event_latency_ms": {"p50": 300.0, "p99": 398.0, "samples": 2},
        "finding_latency_ms": {"p50": 1000.0, "p99": 1000.0, "samples": 1},
        "seconds": 12.3,
    }
    json.dumps(figures(whole).document(), allow_nan=False)


def stored(seen: Observed, name: str, **changed: object) -> Observed:
    return replace(seen, stored={**seen.stored, name: replace(seen.stored[name], **changed)})


def test_a_lost_frame_is_told_even_if_another_episode_has_one_too_many(whole: Observed) -> None:
    seen = stored(stored(whole, "a", frames=399), "b", frames=501)
    assert figures(seen).frames_stored == 900
    assert figures(seen).lost_frames == 1
    assert "1 of 900 frames are not in the store" in lacks(seen)


def test_an_episode_that_closed_incomplete_is_told_by_its_status_and_robot(whole: Observed) -> None:
    seen = stored(whole, "b", status="INCOMPLETE")
    assert (figures(seen).episodes_completed, figures(seen).episodes_stored) == (1, 2)
    assert lacks(seen) == ["1 episode closed INCOMPLETE: b of robot-b"]


def test_an_episode_without_a_row_was_never_stored_though_its_frames_are(whole: Observed) -> None:
    seen = stored(whole, "b", status="", content_hash="")
    assert (figures(seen).episodes_completed, figures(seen).episodes_stored) == (1, 1)
    assert "1 episode was never closed and stored: b of robot-b" in lacks(seen)


def test_an_episode_the_consumer_did_not_see_was_never_announced(whole: Observed) -> None:
    seen = replace(whole, events=whole.events[:1])
    assert figures(seen).episodes_announced == 1
    assert lacks(seen) == ["1 episode was never announced: b of robot-b"]


def test_other_values_behind_the_same_frame_numbers_are_a_hash_mismatch(whole: Observed) -> None:
    seen = stored(whole, "a", content_hash="other")
    assert figures(seen).hash_mismatches == 1
    assert lacks(seen) == ["1 episode comes back with another content hash: a of robot-a"]


def test_a_take_without_an_end_is_told(whole: Observed) -> None:
    open_take = Take("c", "robot-c")
    seen = replace(whole, published=Published({**whole.published.takes, "c": open_take}))
    assert figures(seen).episodes_published == 3
    assert lacks(seen)[0] == "1 episode was never ended by its robot: c of robot-c"


def test_no_published_episode_is_no_whole_run() -> None:
    assert lacks(Observed(Published(), [], {}, [])) == ["no robot published anything"]


def test_what_the_broker_did_not_take_is_told(whole: Observed) -> None:
    seen = replace(whole, published=replace(whole.published, undelivered=["robot-a: 3 messages"]))
    assert lacks(seen) == ["robot-a: 3 messages"]


def test_an_episode_nobody_published_is_told(whole: Observed) -> None:
    seen = replace(whole, stored={**whole.stored, "x": StoredEpisode("x", "COMPLETE", 0, "")})
    assert lacks(seen) == ["1 episodes are stored that no robot published, x among them"]


def test_a_repeat_with_the_same_bytes_is_counted_and_allowed(whole: Observed) -> None:
    seen = replace(whole, events=[*whole.events, whole.events[0]])
    assert (figures(seen).repeated_events, figures(seen).visible_duplicates) == (1, 0)
    assert figures(seen).event_latency_ms.samples == 2
    assert lacks(seen) == []


@pytest.mark.parametrize(
    ("further", "counts"),
    [
        (event("a", payload=b"other"), (0, 1)),
        (event("a", revision=2, payload=b"q", content="a 1"), (0, 1)),
        (event("a", revision=2, payload=b"q", content="more frames"), (0, 0)),
    ],
    ids=["same id, other bytes", "two revisions that say the same", "a true revision"],
)
def test_visible_duplicates(whole: Observed, further: Event, counts: tuple[int, int]) -> None:
    assert count_repeats([*whole.events, further]) == counts


@pytest.mark.parametrize(
    ("changed", "caught", "wrong"),
    [
        ({"metric": "I3"}, 0, 1),
        ({"joint": "wrist"}, 0, 1),
        ({"robot_id": "robot-b"}, 0, 0),
        ({"episode_id": "b"}, 0, 1),
        ({"episode_id": "nobody's"}, 0, 1),
        ({"state": "CLEARED"}, 0, 0),
        ({"state": "UPDATED"}, 1, 0),
    ],
)
def test_only_the_right_metric_robot_and_joint_catch_a_fault(
    whole: Observed, changed: dict[str, object], caught: int, wrong: int
) -> None:
    seen = replace(whole, findings=[finding(**changed)])
    assert (figures(seen).faults_caught, len(wrong_findings(seen))) == (caught, wrong)


def test_a_lamp_that_flashed_without_a_fault_is_wrong_also_when_it_went_out(whole: Observed) -> None:
    flash = finding("b", state="CLEARED")
    assert wrong_findings(replace(whole, findings=[finding(), flash])) == [flash]


def test_the_latency_of_a_fault_counts_to_its_first_finding(whole: Observed) -> None:
    later = finding(finding_id="f-2", seen_ns=60 * S)
    seen = replace(whole, findings=[later, finding()])
    assert figures(seen).finding_latency_ms == Latency(1000.0, 1000.0, 1)


def test_a_latency_without_samples_has_no_value() -> None:
    assert Latency.of([]) == Latency(None, None, 0)
