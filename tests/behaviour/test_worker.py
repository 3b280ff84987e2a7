"""The worker on a real log: bad messages, odd data, and episodes that end in every way they can."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.schemas.catalogue import EPISODES, FINDINGS, FRAMES_DLQ
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.reading import read_frames, read_topic
from tests.sending import RawSender, encode


def status_of(pipeline: Pipeline, episode_id: str) -> str:
    rows = pipeline.query("SELECT status FROM episodes FINAL WHERE episode_id = {id:String}", id=episode_id)
    return str(rows[0][0]) if rows else ""


def test_what_cannot_be_used_goes_to_the_dead_letters_and_the_worker_lives_on(pipeline: Pipeline) -> None:
    pipeline.start()
    sender, good, wide = RawSender(pipeline.broker), Take(seed=1), Take(seed=2)
    chunk = encode(*good.chunk(0, 10))
    bad = {
        "UNKNOWN_SCHEMA": b"\0" + (9999).to_bytes(4, "big") + chunk[5:],
        "UNDECODABLE": chunk[:40],
        "NO_START": encode(*Take(seed=3).chunk(0, 10)),
    }
    sender.send_raw(list(bad.values()))
    sender.send(wide.start())
    narrow = wide.chunk(0, 10)
    narrow[1].channels["velocity"] = narrow[1].channels["velocity"][:, :1]
    sender.send(narrow)
    sender.send_raw([b""])
    elsewhere = (2, 0)[sender_partition(pipeline, "r1") == 2]
    sender.send_raw([encode(*good.start())], partition=elsewhere)
    sender.send(*good.whole())
    pipeline.wait_for(lambda: status_of(pipeline, good.id) == "COMPLETE")
    letters = read_topic(pipeline, FRAMES_DLQ)
    reasons = sorted(letter.headers["reason"] for letter in letters)
    assert reasons == sorted([*bad, "INCONSISTENT", "UNDECODABLE", "WRONG_PARTITION"])
    for letter in letters:
        assert {"topic", "partition", "offset", "time", "text", "schema_id", "attempts"} <= letter.headers.keys()
        if letter.headers["reason"] in ("UNKNOWN_SCHEMA", "NO_START"):
            assert letter.value == bad[letter.headers["reason"]], "the raw bytes are kept"


def sender_partition(pipeline: Pipeline, robot: str) -> int:
    from aiokafka.partitioner import murmur2

    count = 8 if pipeline.broker.kind == "kafka" else 4
    return (murmur2(robot.encode()) & 0x7FFFFFFF) % count


def test_nan_and_an_unknown_model_are_stored_bit_for_bit_and_judged(pipeline: Pipeline) -> None:
    pipeline.start()
    take = Take(model="acme-unheard-of", joints=("a", "b"))
    take.values["position"][120, 1] = np.nan
    take.values["velocity"][7, 0] = -0.0
    RawSender(pipeline.broker).send(*take.whole())
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "COMPLETE")
    frames = read_frames(pipeline, take.id)
    assert all(frames[name].tobytes() == values.tobytes() for name, values in take.values.items())
    assert frames["t_ns"].tolist() == take.t_ns.tolist()
    assert pipeline.query("SELECT verdict, content_hash, hash_verified FROM episodes") == [
        ("REJECT", take.content_hash(), 1)
    ]
    found = pipeline.query("SELECT metric, joint, flag, first_seq, provisional FROM findings FINAL")
    assert found == [("I1", "b", "FAIL", 120, 0)]


def test_a_finding_is_raised_while_the_take_runs_and_stands_when_it_is_closed(pipeline: Pipeline) -> None:
    pipeline.start()
    take = Take()
    take.values["position"][50, 0] = np.nan
    sender = RawSender(pipeline.broker)
    sender.send(take.start(), *take.chunks()[:10])
    live = "SELECT metric, joint, state, provisional FROM findings FINAL"
    assert pipeline.wait_for(lambda: pipeline.query(live)) == [("I1", take.joints[0], "RAISED", 1)]
    assert status_of(pipeline, take.id) == "", "the take is still running"
    sender.send(*take.chunks()[10:], take.end())
    pipeline.wait_for(lambda: status_of(pipeline, take.id))
    assert pipeline.query(live) == [("I1", take.joints[0], "RAISED", 0)]
    codec = Codec(Registry(), "")
    said = [codec.decode(one.value).value for one in read_topic(pipeline, FINDINGS)]
    assert [(one["state"], one["provisional"], one["metric"]) for one in said] == [
        ("RAISED", True, "I1"),
        ("RAISED", False, "I1"),
    ]


def test_frames_that_never_come_make_an_episode_incomplete_though_the_log_is_idle(pipeline: Pipeline) -> None:
    pipeline.extra = {"KINESTREAM_INCOMPLETE_AFTER_S": "1"}
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    whole = take.whole()
    sender.send(*whole[:5], *whole[6:])
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "INCOMPLETE")
    sender.send(whole[5])
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "COMPLETE")
    assert pipeline.query("SELECT revision, reason, late FROM episodes FINAL") == [(2, "LATE_FRAMES", 10)]
    assert [one.ce_id for one in read_topic(pipeline, EPISODES)] == [f"{take.id}/1", f"{take.id}/2"]


def test_a_robot_that_falls_silent_times_its_episode_out(pipeline: Pipeline) -> None:
    pipeline.extra = {"KINESTREAM_SILENCE_S": "1"}
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    sender.send(take.start(), *take.chunks()[:10], take.status())
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "TIMED_OUT")


def test_the_next_take_of_the_same_boot_supersedes_one_without_an_end(pipeline: Pipeline) -> None:
    pipeline.extra = {"KINESTREAM_SUPERSEDED_AFTER_S": "1"}
    pipeline.start()
    first, second, sender = Take(no=1), Take(no=2, seed=1), RawSender(pipeline.broker)
    sender.send(first.start(), *first.chunks()[:10], *second.whole())
    pipeline.wait_for(lambda: status_of(pipeline, first.id) == "SUPERSEDED")
    assert status_of(pipeline, second.id) == "COMPLETE"


def test_sigterm_leaves_within_five_seconds_and_the_next_worker_goes_on(pipeline: Pipeline) -> None:
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    sender.send(take.start(), *take.chunks()[:15])
    pipeline.wait_for(lambda: pipeline.query("SELECT 1 FROM journal"))
    pipeline.stop(timeout_s=5)
    sender.send(*take.chunks()[15:], take.end())
    pipeline.start()
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "COMPLETE")
    assert pipeline.query("SELECT frames, revision FROM episodes") == [(take.frames, 1)]


@pytest.mark.parametrize("setting", ["KINESTREAM_FLUSH_INTERVAL", "KINESTREAM_SESSION_S"])
def test_a_setting_that_is_wrong_is_one_clear_line(pipeline: Pipeline, setting: str) -> None:
    pipeline.extra = {setting: "soon"}
    worker = pipeline.start(wait=False)
    assert worker.wait(30) != 0
    assert setting in pipeline.log()


def test_a_bound_far_below_what_is_in_flight_slows_the_worker_and_stops_nothing(pipeline: Pipeline) -> None:
    pipeline.extra = {"KINESTREAM_INFLIGHT_BYTES": "20000"}
    takes = [Take(seed=n, robot=f"r{n}") for n in range(6)]
    sender = RawSender(pipeline.broker)
    for take in takes:
        sender.send(take.start(), robot=take.robot)
    for chunks in zip(*(take.chunks() for take in takes), strict=True):
        for take, chunk in zip(takes, chunks, strict=True):
            sender.send(chunk, robot=take.robot)
    for take in takes:
        sender.send(take.end(), robot=take.robot)
    pipeline.start()
    pipeline.wait_for(lambda: all(status_of(pipeline, take.id) == "COMPLETE" for take in takes))


def test_a_worker_whose_topics_are_not_there_ends_and_says_so(kafka_pipeline: Pipeline) -> None:
    kafka_pipeline.extra = {"KINESTREAM_TENANT": "nobody"}
    worker = kafka_pipeline.start(wait=False)
    assert worker.wait(40) == 70
    assert "motion.nobody.frames.v1" in kafka_pipeline.log()


def test_a_store_that_refuses_the_account_ends_the_worker_with_one_clear_line(pipeline: Pipeline) -> None:
    pipeline.extra = {"KINESTREAM_CLICKHOUSE_PASSWORD": "wrong"}
    worker = pipeline.start(wait=False)
    assert worker.wait(40) == 70
    assert "refuses account 'writer': set KINESTREAM_CLICKHOUSE_USER and _PASSWORD" in pipeline.log()
