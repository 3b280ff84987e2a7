"""What a closed episode's event and row say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.assembling import LIMITS, PLACE, T0, Log, Owner, Take


def closed(*values, idle_ms=0, **kind):
    owner, log = Owner(**kind), Log()
    owner.feed(log.append(*values))
    if idle_ms:
        owner.pass_ms(idle_ms)
    return owner, log


def test_identity_and_labels_are_those_of_the_start():
    labels = {"skill": "pour", "area": "household", "site": "hall", "station": "s3", "operator": "p17", "job": "j1",
              "task": "pour water"}  # fmt: skip
    take = Take(no=7)
    owner, _ = closed(take.start(**labels), *take.chunks(), take.end(outcome="SUCCESS"))
    event = owner.store.event()
    assert {name: event[name] for name in labels} == labels
    assert (event["robot_id"], event["episode_no"], event["boot_id"]) == ("r1", 7, "boot-1")
    assert (event["outcome"], event["revision"], event["reason"]) == ("SUCCESS", 1, "CLOSED")


def test_counts_times_and_place():
    take = Take()
    owner, log = closed(take.start(), take.chunk(0, 200), take.chunk(190, 300), take.end())
    event = owner.store.event()
    assert (event["frames_expected"], event["frames_received"], event["frames_unique"]) == (300, 310, 300)
    assert (event["frames_duplicate"], event["frames_late"], event["missing_range_count"]) == (10, 0, 0)
    assert event["started_at_ms"] == log.records[0].broker_ms
    assert event["ended_at_ms"] == log.records[-1].broker_ms
    assert event["duration_s"] == pytest.approx((take.t_ns[-1] - take.t_ns[0]) / 1e9, abs=1e-9)
    assert event["lineage"] == {
        "cluster_id": PLACE.cluster_id, "topic": PLACE.topic, "partition": 0, "first_offset": 0, "last_offset": 3,
    }  # fmt: skip
    assert event["frames"]["blocks"] == 3
    assert event["frames"]["stored_day"] == "2027-01-15"


def test_the_twenty_largest_missing_ranges_and_their_number():
    take = Take(frames=2000)
    holes = [(20 * i, 20 * i + 1 + i % 7) for i in range(1, 61)]
    edges = [0, *(frame for hole in holes for frame in hole), 2000]
    owner, _ = closed(
        take.start(), *(take.chunk(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)), take.end(),
        idle_ms=LIMITS.incomplete_ms,
    )  # fmt: skip
    event = owner.store.event()
    largest = sorted(holes, key=lambda hole: (hole[0] - hole[1], hole[0]))[:20]
    assert event["missing_range_count"] == 60
    assert [(r["first"], r["last"] + 1) for r in event["missing_ranges"]] == largest
    assert owner.store.episodes[take.id].closed["missing"] == sum(last - first for first, last in holes)


@pytest.mark.parametrize(
    "lost", [(0, 10), (120, 130), (128, 256), (290, 300), (0, 300)], ids=["head", "seam", "block", "tail", "all"]
)
def test_missing_ranges_wherever_the_hole_is(lost):
    take = Take()
    first, last = lost
    kept = [take.chunk(a, b) for a, b in ((0, first), (last, 300)) if a < b]
    owner, _ = closed(take.start(), *kept, take.end(), idle_ms=LIMITS.incomplete_ms)
    event = owner.store.event()
    assert event["missing_ranges"] == [{"first": first, "last": last - 1}]
    assert event["frames_unique"] == 300 - (last - first)


def test_row_and_event_say_the_same():
    take = Take()
    owner, _ = closed(take.start(source="recording-9"), take.chunk(0, 150), take.chunk(140, 290), take.end(),
                      idle_ms=LIMITS.incomplete_ms)  # fmt: skip
    event, row = owner.store.event(), owner.store.episodes[take.id].closed
    names = ("episode_id", "status", "outcome", "verdict", "reason", "revision", "content_hash", "rule_version",
             "frames_expected", "duration_s")  # fmt: skip
    assert {name: row[name] for name in names} == {name: event[name] for name in names}
    assert (row["frames"], row["duplicates"], row["missing"]) == (290, 10, 10)
    assert row["metric_ids"] == [m["id"] for m in event["metrics"]]
    assert row["metric_values"] == [m["value"] for m in event["metrics"]]
    assert row["source"] == "recording-9"
    assert row["joints"] == list(take.joints)


def test_findings_are_the_twenty_worst_and_their_number():
    joints = tuple(f"j{i}" for i in range(30))
    take = Take(joints=joints, model="unknown")
    take.values["position"][50] = np.nan
    owner, _ = closed(*take.whole())
    event = owner.store.event()
    missing = [c for c in owner.store.findings if not c.provisional and c.finding.metric == "I1"]
    assert len(missing) == 30
    assert len(event["findings"]) == 20
    assert event["finding_count"] == len([c for c in owner.store.findings if not c.provisional])


def test_no_number_that_is_none_is_printed():
    take = Take(model="unknown")
    take.values["velocity"][:] = np.nan
    owner, _ = closed(*take.whole())
    row = owner.store.episodes[take.id].closed
    json.dumps(row, allow_nan=False)
    values = [m["value"] for m in owner.store.event()["metrics"]]
    assert not any(v is not None and math.isnan(v) for v in values)


def test_every_field_derives_from_the_log_alone():
    """The same log at another time, in other pieces, on another lane of the same place: the same bytes."""
    take, log = Take(), Log()
    log.append(take.start(), take.chunk(0, 150), take.chunk(100, 280), take.status(recording=take.id), take.end())
    log.append(Take(robot="r2").start(), after_ms=60_000)
    owners = [Owner(), Owner(live=False), Owner(live_lane=False)]
    owners[0].feed(log.records)
    for owner in owners[1:]:
        for record in log.records:
            owner.feed([record])
    assert owners[0].store.announced
    assert owners[0].store.announced == owners[1].store.announced == owners[2].store.announced


def test_a_bad_robot_clock_is_no_reason_to_refuse_frames():
    take = Take()
    take.t_ns = take.t_ns[::-1].copy() - T0
    owner, _ = closed(*take.whole())
    event = owner.store.event()
    assert (event["status"], event["frames_unique"]) == ("COMPLETE", 300)


def test_sealing_twice_gives_the_same():
    owner, log, take = Owner(), Log(), Take()
    owner.feed(log.append(*take.whole()), flush=False)
    due = owner.assembler.take()
    owner.make_durable(due)
    owner.assembler.confirm(due)
    first = owner.assembler.seal(take.id, None)
    assert first is not None
    assert owner.assembler.seal(take.id, None) is first
