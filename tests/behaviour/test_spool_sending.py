"""A robot's spool and a broker that comes and goes, refuses and forgets: each trouble has one outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, Producer

from kinestream import DeliveryError, Episode, Robot, Settings
from kinestream.deploy.local.process import free_port
from kinestream.producers.spool import line, promised
from kinestream.producers.spool.draining import drain_spool
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, RECEIPTS, topic_name
from kinestream.schemas.codec import Codec, Decoded
from kinestream.schemas.registry import Registry
from tests.plugins.mockbroker import MockBroker
from tests.robots import read_topic, received_hash, wait_until

JOINTS = ["hip", "knee", "ankle"]
LIVE, BULK, RECEIPT = (topic_name(one, "hub") for one in (FRAMES, FRAMES_BULK, RECEIPTS))


@contextmanager
def robot(broker: MockBroker | str, spool: Path, **settings: Any) -> Iterator[Robot]:
    kafka = broker if isinstance(broker, str) else broker.bootstrap
    own = Settings(**{"live_within_s": 0.4, "status_interval_s": 0.1, **settings})
    with Robot("r1", model_id="m1", joints=JOINTS, kafka=kafka, spool=spool, settings=own) as sender:
        yield sender


def take(sender: Robot, frames: int = 25, seed: int = 1) -> Episode:
    with sender.episode() as episode:
        episode.send_many(np.random.default_rng(seed).normal(size=(frames, 3)), np.arange(frames) * 10_000_000)
    return episode


def ended(*episodes: Episode) -> Callable[[Sequence[Decoded]], bool]:
    wanted = {episode.id for episode in episodes}
    return lambda came: wanted <= {one.value["episode_id"] for one in came if one.record == "EpisodeEnd"}


def arrived(broker: MockBroker, topic: str, *episodes: Episode, repeats: bool = False) -> list[Decoded]:
    """What lies on ``topic``; checks that ``episodes`` are there whole, in order, each record once.

    ``repeats``: the broker may have taken what it was too slow to answer, so that only the first of each counts.
    """
    came, _ = read_topic(broker.bootstrap, topic, ended(*episodes))
    for episode in episodes:
        mine = [one for one in came if one.record != "RobotStatus" and id_of(one) == episode.id]
        if repeats:
            firsts: dict[tuple[str, int], Decoded] = {}
            for one in mine:
                firsts.setdefault((one.record, getattr(one.value, "first_seq", 0)), one)
            mine = list(firsts.values())
        chunks = [one.value for one in mine if one.record == "FrameChunk"]
        assert [one.record for one in mine] == ["EpisodeStart", *["FrameChunk"] * len(chunks), "EpisodeEnd"]
        assert received_hash(mine[0].value, chunks, episode.frames) == episode.content_hash
    return came


def id_of(one: Decoded) -> str:
    return str(one.value.episode_id if one.record == "FrameChunk" else one.value["episode_id"])


def write_receipt(broker: MockBroker, episode_id: str, **values: Any) -> None:
    receipt = {"tenant": "hub", "robot_id": "r1", "episode_id": episode_id, "revision": 1, "status": "COMPLETE"}
    receipt |= {"frames": 25, "n_total": 25, "content_hash": "", "final": True, **values}
    message = Codec(Registry(), RECEIPT).encode("EpisodeReceipt", receipt)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random"})
    producer.produce(RECEIPT, message, "r1")
    assert producer.flush(10) == 0


def test_a_take_under_way_stays_live_and_those_begun_offline_go_by_the_bulk_lane(
    mock_broker: MockBroker, tmp_path: Path
):
    with robot(mock_broker, tmp_path) as sender:
        with sender.episode() as under_way:
            under_way.send_many(np.zeros((10, 3)), np.arange(10))
            sender.flush(10)
            mock_broker.down()
            wait_until(lambda: sender.delivery_state == "OFFLINE", 10, "it notices")
            under_way.send_many(np.ones((300, 3)), np.arange(10, 310))
        offline = [take(sender, seed=k) for k in range(3)]
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 0.5, 5, "they are no longer new")
        assert [one.lane for one in promised(tmp_path).values()] == ["live", "", "", ""]
        mock_broker.up()
        sender.flush(20)
        fresh = take(sender)
        sender.flush(20)
        arrived(mock_broker, LIVE, under_way, fresh)
        arrived(mock_broker, BULK, *offline)
    kept = promised(tmp_path)
    assert [kept[one.id].lane for one in (under_way, *offline, fresh)] == ["live", "bulk", "bulk", "bulk", "live"]


def test_a_robot_that_starts_before_its_network_loses_nothing(mock_broker: MockBroker, tmp_path: Path):
    mock_broker.down()
    with robot(mock_broker, tmp_path) as sender:
        episode = take(sender)
        wait_until(lambda: episode.accepted == 25, 5, "it is promised")
        mock_broker.up()
        sender.flush(20)
        arrived(mock_broker, promised_topic(tmp_path, episode), episode)


def promised_topic(spool: Path, episode: Episode) -> str:
    return {"live": LIVE, "bulk": BULK}[promised(spool)[episode.id].lane]


def test_the_next_boot_sends_what_the_last_one_could_not(mock_broker: MockBroker, tmp_path: Path):
    away = f"127.0.0.1:{free_port()}"
    sender = Robot("r1", model_id="m1", joints=JOINTS, kafka=away, spool=tmp_path, settings=Settings())
    left = [take(sender, seed=k) for k in range(3)]
    sender.close(timeout=0)
    with robot(mock_broker, tmp_path) as sender:
        sender.flush(20)
        came = arrived(mock_broker, BULK, *left)
        words = [one.value for one in came if one.record == "RobotStatus"]
        assert words[0]["unsent_episodes"] == [one.id for one in left]  # its first word, once the spool was scanned
        assert words[0]["spool_bytes"] == sender.spool_bytes >= words[0]["buffered_bytes"] > 0
        assert (words[0]["spool_limit_bytes"], words[0]["spool_full"]) == (2_000_000_000, False)
    assert [id_of(one) for one in came if one.record == "EpisodeStart"] == [one.id for one in left]


@pytest.mark.parametrize(
    "code",
    [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION],
)
def test_after_a_fatal_error_a_new_producer_goes_on_from_the_last_acknowledgement(
    mock_broker: MockBroker, tmp_path: Path, code: int
):
    with robot(mock_broker, tmp_path) as sender:
        sender.flush(10)
        first = take(sender)
        sender.flush(10)
        mock_broker.refuse_produce(code)
        second = take(sender)
        sender.flush(20)
        arrived(mock_broker, LIVE, first, second)


def test_messages_that_expired_are_sent_again(
    mock_broker: MockBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with robot(mock_broker, tmp_path, message_timeout_ms=600) as sender:
        wait_until(lambda: sender.delivery_state == "ONLINE", 10, "it is connected")
        mock_broker.answer_after(3000)
        episode = take(sender, 100)
        wait_until(lambda: "the producer failed (Local: Message timed out" in caplog.text, 10, "they expired")
        mock_broker.answer_after(0)
        sender.flush(20)
        arrived(mock_broker, LIVE, episode, repeats=True)


def test_a_full_queue_of_the_producer_loses_and_reorders_nothing(
    mock_broker: MockBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    refusals: list[str] = []

    class Small(Producer):
        def produce(self, *args: Any, **named: Any) -> None:
            try:
                super().produce(*args, **named)
            except BufferError as problem:
                refusals.append(str(problem))
                raise

    def small(kafka: str, settings: Settings, on_error: Any) -> Producer:
        few = {"queue.buffering.max.messages": 7, "linger.ms": 5}
        return Small({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "enable.idempotence": True, **few})

    monkeypatch.setattr(line, "make_producer", small)
    with robot(mock_broker, tmp_path) as sender:
        episode = take(sender, 400)
        sender.flush(20)
        arrived(mock_broker, LIVE, episode)
    assert refusals


def test_a_topic_the_robot_may_not_write_is_told_and_tried_again(
    mock_broker: MockBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(line, "REFUSED_S", 0.2)
    mock_broker.refuse_topic(LIVE, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    told: list[str] = []
    settings = Settings(live_within_s=60)
    with Robot(
        *("r1",), model_id="m1", joints=JOINTS, kafka=mock_broker.bootstrap, spool=tmp_path, settings=settings,
        on_trouble=told.append,
    ) as sender:  # fmt: skip
        episode = take(sender)
        wait_until(lambda: "TOPIC_AUTHORIZATION_FAILED" in sender.trouble, 10, "it says so")
        wait_until(lambda: episode.accepted == 25, 5, "frames are promised all the same")
        mock_broker.refuse_topic(LIVE)
        sender.flush(20)
        arrived(mock_broker, LIVE, episode)
        wait_until(lambda: told[-1:] == [""], 5, "it says that it is over")
    assert LIVE in told[0]


def test_a_record_the_broker_will_never_take_holds_up_its_own_take_only(mock_broker: MockBroker, tmp_path: Path):
    with robot(mock_broker, tmp_path, status_interval_s=60) as sender:
        read_topic(mock_broker.bootstrap, LIVE, lambda came: bool(came))  # its first word, which is not to be refused
        mock_broker.refuse_produce(KafkaError.MSG_SIZE_TOO_LARGE)
        large = take(sender)
        with pytest.raises(DeliveryError, match=f"{large.id}.*MSG_SIZE_TOO_LARGE"):
            sender.flush(10)
        fresh = take(sender)
        arrived(mock_broker, LIVE, fresh)
    assert promised(tmp_path)[large.id].acknowledged is False
    with robot(mock_broker, tmp_path) as sender:  # once the topic takes it
        sender.flush(20)
        assert sender.trouble == ""


def test_a_receipt_empties_the_spool_and_one_with_gaps_sends_them_again(mock_broker: MockBroker, tmp_path: Path):
    with robot(mock_broker, tmp_path) as sender:
        first, second = take(sender), take(sender)
        sender.flush(10)
        write_receipt(mock_broker, first.id)
        wait_until(lambda: list(promised(tmp_path)) == [second.id], 10, "the first is gone")
        wait_until(lambda: promised(tmp_path)[second.id].acknowledged, 10, "the second is acknowledged")
        gap = {"status": "INCOMPLETE", "frames": 15, "missing": [{"first": 10, "last": 19}], "final": False}
        gap["missing_ranges"] = 1

        def again() -> list[int]:
            came, _ = read_topic(mock_broker.bootstrap, LIVE, ended(first, second))
            seqs = [one.value.first_seq for one in came if one.record == "FrameChunk" and id_of(one) == second.id]
            return seqs[3:]

        def asked() -> bool:
            write_receipt(mock_broker, second.id, **gap)
            return again() == [10]

        wait_until(asked, 20, "frames 10 to 19 come once more, and nothing else")
        write_receipt(mock_broker, second.id, revision=2)
        wait_until(lambda: not promised(tmp_path), 10, "the second is gone")
        assert sender.spool_bytes == 0


def test_without_receipts_frames_go_after_a_while_and_counts_stay(mock_broker: MockBroker, tmp_path: Path):
    with robot(mock_broker, tmp_path, spool_keep_s=0.3) as sender:
        with sender.episode() as episode:
            episode.send_many(np.zeros((400, 3)), np.arange(400))
            wait_until(lambda: episode.accepted == 400, 5, "promised")
            wait_until(lambda: len(promised(tmp_path)[episode.id].seq) < 300, 10, "frames of a take under way go")
            (kept,) = promised(tmp_path).values()
            assert kept.seq[0] == 0  # all stamps are relative to it
            assert kept.frames == 400
            open_hash = kept.content_hash
        assert open_hash == episode.content_hash  # from the leaves that stayed
        wait_until(lambda: not len(promised(tmp_path)[episode.id].seq), 10, "the rest goes")
    (kept,) = promised(tmp_path).values()
    assert (kept.frames, kept.content_hash) == (400, episode.content_hash)


def test_a_drain_sends_what_a_dead_robot_left(mock_broker: MockBroker, tmp_path: Path):
    sender = Robot("r1", model_id="m1", joints=JOINTS, kafka="127.0.0.1:1", spool=tmp_path, settings=Settings())
    left = take(sender)
    sender.close(timeout=0)
    empty = drain_spool(tmp_path, Settings(), f"127.0.0.1:{free_port()}", 0.5)
    assert (empty.drained, empty.unsent_episodes) == (False, 1)
    assert "the broker is away" in empty.text or "more --timeout" in empty.text
    waiting = drain_spool(tmp_path, Settings(), mock_broker.bootstrap, 1)
    assert (waiting.drained, waiting.unsent_episodes, waiting.without_receipt) == (False, 0, 1)
    arrived(mock_broker, BULK, left)
    write_receipt(mock_broker, left.id)
    done = drain_spool(tmp_path, Settings(), mock_broker.bootstrap, 10)
    assert (done.drained, done.text) == (True, "1 takes, the hub has them all")
