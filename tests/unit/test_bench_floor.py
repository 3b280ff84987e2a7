"""The floor that is measured: whole, true episodes, interleaved as a floor sends them."""

from collections import Counter

import numpy as np
import pytest

from kinestream.deploy.bench.floor import LONGEST, SHORTEST, Floor, layout, lengths
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.registry import Registry
from kinestream.streams.judging import judge_for
from kinestream.streams.quality import Delivery, Frames

CODEC = Codec(Registry(), "motion.bench.frames.v1")


def sent(chunk, takes, robots=4, **how):
    messages = Floor(CODEC, "bench", chunk, robots=robots).send(takes, **how)
    return [(key.decode(), CODEC.decode(value)) for key, value in messages]


def test_a_frame_has_32_joints_and_3_channels():
    assert len(layout().joints) == 32
    assert layout().widths == {"position": 32, "velocity": 32, "effort": 32}


def test_takes_are_15_to_35_seconds_and_reach_the_frames_asked_for():
    takes = lengths(20_000)
    assert 20_000 <= sum(takes) < 20_000 + LONGEST
    assert all(SHORTEST <= one <= LONGEST for one in takes)


@pytest.mark.parametrize("chunk", [1, 10, 64])
def test_every_take_arrives_whole_under_its_content_hash(chunk):
    chunks, ends = {}, {}
    for _, one in sent(chunk, [150, 90, 210]):
        if one.record == "FrameChunk":
            assert len(one.value) <= chunk
            chunks.setdefault(one.value.episode_id, []).append(one.value)
        elif one.record == "EpisodeEnd":
            ends[one.value["episode_id"]] = one.value
    assert sorted(end["n_total"] for end in ends.values()) == [90, 150, 210]
    for episode_id, end in ends.items():
        hasher = ContentHasher(layout())
        for part in chunks[episode_id]:
            hasher.add(part.first_seq, part.t_ns, part.channels)
        assert hasher.hexdigest() == end["content_hash"]


def test_chunks_of_different_robots_alternate():
    keys = [key for key, one in sent(10, [500] * 4, together=True) if one.record == "FrameChunk"]
    assert keys[:8] == ["bench-0", "bench-1", "bench-2", "bench-3"] * 2


def test_a_robot_sends_its_takes_one_after_the_other_under_rising_numbers():
    starts = [one.value for key, one in sent(64, [100] * 6, robots=2) if one.record == "EpisodeStart"]
    for robot in ("bench-0", "bench-1"):
        assert [s["episode_no"] for s in starts if s["robot_id"] == robot] == [0, 1, 2]


def test_a_live_floor_sends_a_status_a_second_and_a_replay_none():
    assert Counter(one.record for _, one in sent(10, [500]))["RobotStatus"] == 5
    assert Counter(one.record for _, one in sent(64, [500]))["RobotStatus"] == 0


def test_takes_without_an_end_stay_open():
    records = Counter(one.record for _, one in sent(10, [50, 50], end=False))
    assert records["EpisodeStart"] == 2
    assert records["EpisodeEnd"] == 0


def test_motion_is_neither_constant_nor_beyond_anything():
    values = np.concatenate(
        [one.value.channels["position"] for _, one in sent(64, [400]) if one.record == "FrameChunk"]
    )
    positions = values.reshape(-1, 32)
    assert (positions.std(axis=0) > 0).all()
    assert np.isfinite(positions).all()


def test_no_take_repeats_another_and_all_are_clean():
    seen = {}
    for _, one in sent(64, [600] * 20, robots=10):
        if one.record == "EpisodeStart":
            judge = judge_for({**one.value, "stamp_resolution_ns": 1_000}, layout())
            seen[one.value["episode_id"]] = judge
        elif one.record == "FrameChunk":
            chunk = one.value
            numbers = np.arange(chunk.first_seq, chunk.first_seq + len(chunk))
            channels = {name: values.reshape(len(chunk), -1) for name, values in chunk.channels.items()}
            seen[chunk.episode_id].advance(Frames(numbers, chunk.t_ns, channels))
    assert {judge.final(Delivery(600, 600, status="COMPLETE")).findings for judge in seen.values()} == {()}
    shapes = np.array([judge.signature.shape for judge in seen.values()])
    assert np.triu(shapes @ shapes.T, 1).max() < 0.9
