"""What a person wants done with an episode: from the command line over the worker into the store and its event."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.schemas.catalogue import COMMANDS, EPISODES, FRAMES, FRAMES_DLQ, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from tests.assembling import Take
from tests.behaviour.test_worker import sender_partition
from tests.plugins.worker import Pipeline
from tests.reading import read_topic
from tests.sending import RawSender

ROW = "SELECT revision, status, reason, skill, area FROM episodes FINAL WHERE episode_id = {id:String}"


def row_of(pipeline: Pipeline, take: Take) -> tuple[Any, ...]:
    rows = pipeline.query(ROW, id=take.id)
    return tuple(rows[0]) if rows else ()


def kinestream(pipeline: Pipeline, *arguments: str) -> Any:
    return CliRunner().invoke(application(), arguments, env=pipeline.environment("cli"))


def events(pipeline: Pipeline) -> dict[str, tuple[str, Any]]:
    """Type and fields by ce_id; a revision may be said again, in the same words."""
    codec, found = Codec(Registry(), ""), read_topic(pipeline, EPISODES)
    assert len({(one.ce_id, one.value) for one in found}) == len({one.ce_id for one in found})
    return {one.ce_id: (one.headers["ce_type"], codec.decode(one.value).value) for one in found}


def counted(pipeline: Pipeline, what: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{pipeline.ports['w1']}/healthz", timeout=5) as answer:
        return sum(int(one[what]) for one in json.load(answer)["partitions"].values())


def test_a_take_is_corrected_and_withdrawn_and_a_killed_worker_does_nothing_twice(pipeline: Pipeline) -> None:
    # Nothing is ever on record as read: the second worker begins with all frames and all commands again.
    pipeline.extra = {"KINESTREAM_COMMIT_INTERVAL_S": "100000000"}
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    sender.send(*take.whole())
    pipeline.wait_for(lambda: row_of(pipeline, take) == (1, "COMPLETE", "CLOSED", "grasp", ""))

    done = kinestream(pipeline, "correct", take.id, "skill=place", "area=retail", "--by", "p7", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout).items() >= {"revision": 2, "reason": "CORRECTED", "carried_out": True}.items()
    assert row_of(pipeline, take) == (2, "COMPLETE", "CORRECTED", "place", "retail")
    done = kinestream(pipeline, "correct", take.id, "skill=pour", "--by", "p7")
    assert row_of(pipeline, take) == (3, "COMPLETE", "CORRECTED", "pour", "retail"), done.output
    pipeline.kill()
    pipeline.start()
    # Behind the corrections, which it reads again: carried out again they would be revisions 4 and 5.
    done = kinestream(pipeline, "withdraw", take.id, "--by", "p7", "--note", "consent")
    assert (done.exit_code, "revision 4, WITHDRAWN" in done.stdout) == (0, True), done.output
    assert row_of(pipeline, take) == (4, "WITHDRAWN", "WITHDRAWN", "pour", "retail")

    dropped = counted(pipeline, "withdrawn")
    sender.send(take.mark(5), take.chunk(0, 10))
    pipeline.wait_for(lambda: counted(pipeline, "withdrawn") == dropped + 2)
    told = events(pipeline)
    assert [told[f"{take.id}/{n}"][1].get("skill") for n in (1, 2, 3)] == ["grasp", "place", "pour"]
    kind, last = told[f"{take.id}/4"]
    assert (kind, last["by"], last["note"]) == ("io.kinestream.episode.withdrawn.v1", "p7", "consent")
    assert len(told) == 4
    assert read_topic(pipeline, FRAMES_DLQ) == []


def test_what_is_no_command_is_a_dead_letter_and_what_is_done_is_not_read_again(pipeline: Pipeline) -> None:
    pipeline.start()
    take, commands = Take(), RawSender(pipeline.broker, COMMANDS)
    RawSender(pipeline.broker).send(*take.whole())
    pipeline.wait_for(lambda: row_of(pipeline, take))
    frames = topic_name(FRAMES, pipeline.broker.tenant)
    value = {"command_id": "c1", "tenant": "hub", "robot_id": "r1", "episode_id": take.id, "lane": frames, "by": "p7"}
    commands.send_raw([b"no record"])
    commands.send(
        take.mark(3),
        ("EpisodeCommand", {**value, "kind": "UNKNOWN"}),
        ("EpisodeCommand", {**value, "kind": "WITHDRAW", "episode_id": "nobody"}),
        ("EpisodeCommand", {**value, "kind": "WITHDRAW", "lane": "elsewhere"}),
        ("EpisodeCommand", {**value, "kind": "WITHDRAW"}),
    )
    pipeline.wait_for(lambda: row_of(pipeline, take)[1] == "WITHDRAWN")
    letters = pipeline.wait_for(lambda: found if len(found := read_topic(pipeline, FRAMES_DLQ)) >= 5 else [])
    reasons = {int(one.headers["offset"]): one.headers["reason"] for one in letters}
    inconsistent = dict.fromkeys((1, 2, 4), "INCONSISTENT")
    assert reasons == {0: "UNDECODABLE", 3: "NO_START", **inconsistent}
    assert {one.headers["topic"] for one in letters} == {topic_name(COMMANDS, pipeline.broker.tenant)}
    place = TopicPartition(topic_name(COMMANDS, pipeline.broker.tenant), sender_partition(pipeline, "r1"))
    asker = Consumer(
        {
            "bootstrap.servers": pipeline.broker.bootstrap,
            "group.id": f"{pipeline.group}-commands-{frames}",
            "log_level": 2,
        }
    )
    try:
        pipeline.wait_for(lambda: asker.committed([place], timeout=10)[0].offset == 6)
    finally:
        asker.close()


def test_what_nobody_can_do_is_said_in_one_line(test_pipeline: Pipeline) -> None:
    pipeline = test_pipeline
    pipeline.start()
    take, later = Take(), Take(seed=1, no=2)
    RawSender(pipeline.broker).send(*take.whole(), later.start(), later.chunk(0, 10))
    pipeline.wait_for(lambda: row_of(pipeline, take))
    in_flight = "SELECT 1 FROM journal FINAL WHERE episode_id = {id:String}"
    pipeline.wait_for(lambda: pipeline.query(in_flight, id=later.id))
    for said, arguments in {
        "no episode 'nobody'": ("withdraw", "nobody", "--by", "p7"),
        "label 'robot_id' cannot be corrected: skill, area, site": ("correct", take.id, "robot_id=r2", "--by", "p7"),
        "labelled so already": ("correct", take.id, "skill=grasp", "--by", "p7"),
        "--by is empty": ("withdraw", take.id, "--by", " "),
    }.items():
        done = kinestream(pipeline, *arguments)
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
    # An open one is corrected when it closes, and withdrawn at once.
    assert "it is open" in kinestream(pipeline, "correct", later.id, "skill=place", "--by", "p7").stdout
    done = kinestream(pipeline, "withdraw", later.id, "--by", "p7")
    assert row_of(pipeline, later) == (1, "WITHDRAWN", "WITHDRAWN", "place", ""), done.output
    again = kinestream(pipeline, "withdraw", later.id, "--by", "p7")
    assert (again.exit_code, "withdrawn already (revision 1)" in again.stderr) == (2, True)


def test_a_command_that_came_too_early_is_sent_back_from_the_dead_letters_and_twice_has_one_effect(
    test_pipeline: Pipeline,
) -> None:
    pipeline = test_pipeline
    pipeline.start()
    take, commands = Take(), RawSender(pipeline.broker, COMMANDS)
    frames = topic_name(FRAMES, pipeline.broker.tenant)
    value = {"tenant": "hub", "robot_id": "r1", "episode_id": take.id, "lane": frames, "by": "p7", "kind": "CORRECT"}
    pour = ("EpisodeCommand", {**value, "command_id": "c1", "labels": {"skill": "pour"}})
    wipe = ("EpisodeCommand", {**value, "command_id": "c2", "labels": {"skill": "wipe"}})
    commands.send(pour)
    pipeline.wait_for(lambda: [one.headers["reason"] for one in read_topic(pipeline, FRAMES_DLQ)] == ["NO_START"])
    RawSender(pipeline.broker).send(*take.whole())
    pipeline.wait_for(lambda: row_of(pipeline, take))
    done = kinestream(pipeline, "dlq", "replay", "--reason", "NO_START", "--json")
    assert json.loads(done.stdout)["sent"] == 1, done.output
    pipeline.wait_for(lambda: row_of(pipeline, take) == (2, "COMPLETE", "CORRECTED", "pour", ""))
    commands.send(wipe, pour, wipe)
    pipeline.wait_for(lambda: row_of(pipeline, take) == (3, "COMPLETE", "CORRECTED", "wipe", ""))
    done = kinestream(pipeline, "withdraw", take.id, "--by", "p7")  # behind them, so they were read
    assert done.exit_code == 0, done.output
    assert [one[1].get("skill") for one in events(pipeline).values()] == ["grasp", "pour", "wipe", None]
