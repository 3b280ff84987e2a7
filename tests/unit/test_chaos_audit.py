"""The audit finds what is wrong: each defect put into sound evidence is counted, once, under its own figure."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestream.deploy.chaos.audit import SHOULD_BE_ZERO, Audit, Event, Stored, audit
from kinestream.deploy.chaos.justice import EpisodeLog, Limits, Line, hash_of
from kinestream.deploy.chaos.promises import Promise, PromiseFile, read_promises
from kinestream.deploy.chaos.recovery import Recoveries
from kinestream.deploy.chaos.schedule import JOIN, KILL, LEAVE, OUTAGE, Site, plan
from kinestream.deploy.chaos.signal import LAYOUT, measured
from kinestream.schemas.content_hash import ContentHasher

ID = str(uuid.UUID(int=1))
LIMITS = Limits(10_000, 8_000, 5_000)
FRAMES = 300


@dataclass
class Evidence:
    """One take of 300 frames, stored and announced as it should be."""

    promises: dict[str, Promise]
    stored: dict[str, Stored]
    events: list[Event]
    log: dict[str, EpisodeLog]

    def audited(self) -> Audit:
        return audit(self.promises, self.stored, self.events, self.log, LIMITS)


@pytest.fixture
def sound() -> Evidence:
    promise = Promise(ID, "robot-1", 7, 1_900_000_000_000_000_000, 100.0, FRAMES, FRAMES)
    truth = promise.truth()
    hashed = hash_of(truth, range(FRAMES), FRAMES)
    row = Stored(ID, 1, "COMPLETE", hashed, np.arange(FRAMES), truth.t_ns.copy(), copied(truth.channels))
    return Evidence({ID: promise}, {ID: row}, [announced(1, hashed)], {ID: logged()})


def copied(channels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values.copy() for name, values in channels.items()}


def logged(start: int = 10, frames: int = FRAMES) -> EpisodeLog:
    """A start, ten frames a chunk and 100 ms, the end."""
    lines = [Line(start, 1000, "EpisodeStart")]
    for k, first in enumerate(range(0, frames, 10)):
        lines.append(Line(start + 1 + k, 1000 + 100 * k, "FrameChunk", first, first + 10))
    end = lines[-1]
    return EpisodeLog([*lines, Line(end.offset + 1, end.broker_ms + 5, "EpisodeEnd", n_total=frames)])


def announced(revision: int, content_hash: str, **more: Any) -> Event:
    record = {
        "episode_id": ID,
        "revision": revision,
        "status": "COMPLETE",
        "outcome": "SUCCESS",
        "skill": "grasp",
        "area": "",
        "operator": "",
        "task": "",
        "frames_unique": FRAMES,
        "content_hash": content_hash,
        "rule_version": "r1",
        "lineage": {"last_offset": 41},
        **more,
    }
    return Event.of(f"{ID}/{revision}", json.dumps(record).encode(), record)


def figures(found: Audit) -> dict[str, int]:
    return {name: getattr(found, name) for name in SHOULD_BE_ZERO if getattr(found, name)}


def test_sound_evidence_is_found_clean(sound: Evidence) -> None:
    found = sound.audited()
    assert (found.clean, found.episodes, found.frames, found.trouble) == (True, 1, FRAMES, [])


def test_the_truth_hashes_as_a_robot_hashes_it(sound: Evidence) -> None:
    truth, hasher = sound.promises[ID].truth(), ContentHasher(LAYOUT)
    channels = {name: np.where(np.isnan(v), np.float32(np.nan), v) for name, v in truth.channels.items()}
    hasher.add(0, truth.t_ns, channels)
    assert hash_of(truth, range(FRAMES), FRAMES) == hasher.hexdigest()


@pytest.mark.parametrize("frame", [0, 131, 299])
def test_a_lost_frame_is_counted(sound: Evidence, frame: int) -> None:
    row = sound.stored[ID]
    keep = row.seq != frame
    left = {name: values[keep] for name, values in row.channels.items()}
    sound.stored[ID] = replace(row, seq=row.seq[keep], t_ns=row.t_ns[keep], channels=left)
    assert figures(sound.audited()) == {"lost_frames": 1}


def test_an_episode_without_a_row_loses_all_that_was_promised(sound: Evidence) -> None:
    sound.stored.clear()
    assert figures(sound.audited()) == {"lost_frames": FRAMES, "events_without_episode": 1}


def test_frames_that_were_sent_but_not_promised_may_be_missing(sound: Evidence) -> None:
    sound.promises[ID].promised = 250
    row = sound.stored[ID]
    left = {name: values[:250] for name, values in row.channels.items()}
    sound.stored[ID] = replace(row, seq=row.seq[:250], t_ns=row.t_ns[:250], channels=left)
    assert figures(sound.audited()) == {}


@pytest.mark.parametrize("channel", ["position", "velocity", "wrench"])
@pytest.mark.parametrize("bit", [0, 17, 31])
def test_one_flipped_bit_is_counted(sound: Evidence, channel: str, bit: int) -> None:
    values = sound.stored[ID].channels[channel]
    finite = np.isfinite(values[:, 0]).nonzero()[0]
    values.view(np.uint32)[finite[40], 0] ^= np.uint32(1 << bit)
    assert figures(sound.audited()) == {"wrong_frames": 1}


def test_a_flipped_bit_of_a_stamp_is_counted(sound: Evidence) -> None:
    sound.stored[ID].t_ns[299] ^= 1
    assert figures(sound.audited()) == {"wrong_frames": 1}


def test_minus_zero_is_not_zero(sound: Evidence) -> None:
    values = sound.stored[ID].channels["wrench"]
    zeros = np.argwhere((values == 0) & np.signbit(values))
    values[tuple(zeros[0])] = 0.0
    assert figures(sound.audited()) == {"wrong_frames": 1}


def test_a_frame_twice_and_a_frame_nobody_sent_are_wrong(sound: Evidence) -> None:
    row = sound.stored[ID]
    row.seq[200] = 199
    row.seq[299] = 400
    # 200 and 299 are not there; the second 199 and 400 are wrong.
    assert figures(sound.audited()) == {"lost_frames": 2, "wrong_frames": 2}


def test_a_channel_that_is_not_there_makes_every_frame_wrong(sound: Evidence) -> None:
    del sound.stored[ID].channels["wrench"]  # type: ignore[attr-defined]
    assert figures(sound.audited()) == {"wrong_frames": FRAMES}


def test_an_episode_no_robot_sent_is_wrong(sound: Evidence) -> None:
    other = str(uuid.UUID(int=2))
    sound.stored[other] = replace(sound.stored[ID], episode_id=other)
    assert figures(sound.audited()) == {"wrong_frames": FRAMES}


def test_a_missing_event_is_counted(sound: Evidence) -> None:
    sound.events.clear()
    assert figures(sound.audited()) == {"episodes_without_event": 1}


def test_a_revision_nobody_announced_is_counted(sound: Evidence) -> None:
    sound.stored[ID] = replace(sound.stored[ID], revision=2)
    assert figures(sound.audited()) == {"episodes_without_event": 1}


def test_an_event_of_a_revision_that_is_not_stored_is_counted(sound: Evidence) -> None:
    sound.events.append(announced(2, sound.stored[ID].content_hash, skill="place"))
    assert figures(sound.audited()) == {"events_without_episode": 1}


def test_the_same_bytes_again_are_a_repeat_and_allowed(sound: Evidence) -> None:
    sound.events += [sound.events[0], sound.events[0]]
    found = sound.audited()
    assert (figures(found), found.repeated_events) == ({}, 2)


def test_other_bytes_under_one_identity_are_a_visible_duplicate(sound: Evidence) -> None:
    sound.events.append(announced(1, sound.stored[ID].content_hash, skill="place"))
    found = sound.audited()
    assert (figures(found), found.repeated_events) == ({"visible_duplicates": 1}, 0)


def test_a_second_revision_with_the_same_content_is_a_visible_duplicate(sound: Evidence) -> None:
    sound.stored[ID] = replace(sound.stored[ID], revision=2)
    sound.events.append(announced(2, sound.stored[ID].content_hash, reason="LATE_FRAMES"))
    assert figures(sound.audited()) == {"visible_duplicates": 1}


def shortened(sound: Evidence, frames: int, last_offset: int, status: str) -> None:
    """The worker announced less than the log holds, and later the rest."""
    truth = sound.promises[ID].truth()
    first = announced(
        *(1, hash_of(truth, range(frames), frames)),
        status=status,
        frames_unique=frames,
        lineage={"last_offset": last_offset},
    )
    whole = announced(2, sound.stored[ID].content_hash, reason="LATE_FRAMES")
    sound.stored[ID] = replace(sound.stored[ID], revision=2)
    sound.events[:] = [first, whole]


def test_a_take_that_was_shortened_while_the_rest_was_in_time_is_a_false_revision(sound: Evidence) -> None:
    shortened(sound, 200, 30, "TIMED_OUT")
    assert figures(sound.audited()) == {"false_revisions": 1}


def test_a_time_out_after_silence_is_justified(sound: Evidence) -> None:
    shortened(sound, 200, 30, "TIMED_OUT")
    lines = sound.log[ID].lines
    lines[21:] = [line._replace(broker_ms=line.broker_ms + 8_000) for line in lines[21:]]
    assert figures(sound.audited()) == {}


def test_a_revision_that_counts_other_frames_than_the_log_has_is_false(sound: Evidence) -> None:
    sound.events[:] = [announced(1, sound.stored[ID].content_hash, lineage={"last_offset": 40})]
    assert figures(sound.audited()) == {"false_revisions": 1}


def test_a_revision_with_a_hash_of_something_else_is_false(sound: Evidence) -> None:
    sound.events[:] = [announced(1, "0" * 32)]
    assert figures(sound.audited()) == {"false_revisions": 1}


def test_incomplete_needs_ten_seconds_without_the_missing_frames(sound: Evidence) -> None:
    lines = sound.log[ID].lines
    late, end = lines.pop(5), lines[-1]
    lines.append(late._replace(offset=end.offset + 1, broker_ms=end.broker_ms + 9_999))
    there = set(range(FRAMES)) - set(range(late.first, late.last))
    early = announced(
        *(1, hash_of(sound.promises[ID].truth(), there, FRAMES)),
        status="INCOMPLETE",
        frames_unique=len(there),
        lineage={"last_offset": end.offset},
    )
    whole = announced(2, sound.stored[ID].content_hash, lineage={"last_offset": end.offset + 1})
    sound.stored[ID] = replace(sound.stored[ID], revision=2)
    sound.events[:] = [early, whole]
    assert figures(sound.audited()) == {"false_revisions": 1}
    lines[-1] = lines[-1]._replace(broker_ms=end.broker_ms + 10_000)
    assert figures(sound.audited()) == {}


def test_promises_outlive_their_writer_and_a_cut_line_is_none(tmp_path: Path) -> None:
    path = tmp_path / "robot-1.promises"
    file, begun = PromiseFile(path), Promise(ID, "robot-1", 7, 5, 100.0)
    file.begin(begun)
    file.sending(ID, 10)
    file.promise(ID, 5)
    file.promise(ID, 4)
    with path.open("ab") as out:
        out.write(b'{"id": "' + ID.encode() + b'", "promised": 10')
    assert read_promises([path]) == {ID: replace(begun, sent=10, promised=5)}


def test_the_signal_is_a_function_of_seed_and_episode() -> None:
    first, second = measured(7, ID, 5, 100.0), measured.__wrapped__(7, ID, 5, 100.0)
    other = measured(8, ID, 5, 100.0)
    assert first.channels["position"].tobytes() == second.channels["position"].tobytes()
    assert first.channels["position"].tobytes() != other.channels["position"].tobytes()
    assert np.isnan(first.channels["wrench"]).any()


KAFKA, TEST = Site(True, 2, 10.0), Site(False, 1, 3.0)


@pytest.mark.parametrize("kills", [1, 8, 30])
@pytest.mark.parametrize("site", [KAFKA, TEST])
def test_a_plan_kills_exactly_as_often_as_asked_and_no_broker_that_lives_in_memory(kills: int, site: Site) -> None:
    acts = plan(3, kills, 100.0, site)
    killed = [act.target for act in acts if act.kind == KILL]
    assert len(killed) == kills
    assert ("broker" in {act.target for act in acts}) == site.durable_broker
    if kills >= 8 and site.durable_broker:
        assert set(killed) == {"worker", "store", "broker", "robot"}


def test_a_plan_is_fixed_by_its_seed_within_its_time_and_nobody_leaves_before_joining() -> None:
    acts = plan(3, 30, 100.0, KAFKA)
    assert acts == plan(3, 30, 100.0, KAFKA) != plan(4, 30, 100.0, KAFKA)
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)
    assert 0 < acts[0].at_s < acts[-1].at_s < 100.0
    members = [1 if act.kind == JOIN else -1 for act in acts if act.kind in (JOIN, LEAVE)]
    assert set(members) == {1, -1}
    assert min(np.cumsum(members)) >= 0
    assert max(act.for_s for act in acts if act.kind == OUTAGE) <= 30.0


def test_recovery_runs_from_the_last_disturbance_to_the_next_progress_of_each_robot() -> None:
    seen = Recoveries()
    seen.seen(0.0, {"a": 1, "b": 1})
    seen.disturbance(1.0, "first")
    seen.seen(2.0, {"a": 2, "b": 1})
    seen.seen(9.0, {"a": 3, "b": 1})
    assert seen.longest == (1.0, "a after first")
    seen.disturbance(10.0, "second")
    seen.seen(14.0, {"a": 4, "b": 2})
    assert seen.longest == (4.0, "a after second")
    seen.seen(15.0, {"c": 1})
    assert seen.longest == (5.0, "c after second"), "the first of a robot's frames counts too"
