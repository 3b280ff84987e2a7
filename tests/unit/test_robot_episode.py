"""One take, from its first frame to its end mark, as a receiver sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.schemas.errors import ContractError, DeliveryError
from tests.robots import Kept, kept_episode, received_hash, values


def frames(n: int, width: int = 3, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, width)).astype(dtype)


def hash_of(kept: Kept) -> str:
    (end,) = kept.of("EpisodeEnd")
    return received_hash(kept.of("EpisodeStart")[0], kept.of("FrameChunk"), end["n_total"])


def test_start_chunks_marks_and_end_go_out_in_the_order_they_were_made():
    episode, kept = kept_episode(skill="grasp")
    episode.mark("SUBTASK_BEGIN", "reach", t=1)
    for seq in range(12):
        episode.send(frames(1)[0], t=seq)
    episode.mark("SUBTASK_END", "reach", t=2)
    episode.send(frames(1)[0], t=12)
    episode.end("SUCCESS")
    assert kept.records() == [
        *("EpisodeStart", "EpisodeMark", "FrameChunk", "FrameChunk", "EpisodeMark", "FrameChunk", "EpisodeEnd")
    ]
    assert [(mark["seq"], mark["kind"]) for mark in kept.of("EpisodeMark")] == [
        (0, "SUBTASK_BEGIN"),
        (12, "SUBTASK_END"),
    ]
    assert [(chunk.first_seq, len(chunk)) for chunk in kept.of("FrameChunk")] == [(0, 10), (10, 2), (12, 1)]
    assert kept.of("EpisodeEnd")[0]["outcome"] == "SUCCESS"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.sampled_from([1, 10, 64]), st.booleans())
def test_however_frames_are_given_and_cut_all_arrive_and_the_hash_is_theirs(
    parts: list[int], chunk_frames: int, first_one_by_one: bool
):
    n = sum(parts)
    position, t = frames(n), np.arange(n) * 10_000_000 + 1_700_000_000_000_000_000
    episode, kept = kept_episode(chunk_frames=chunk_frames)
    at = 0
    for part in parts:
        here = slice(at, at + part)
        if first_one_by_one and at == 0:
            for row, stamp in zip(position[here], t[here].tolist(), strict=True):
                episode.send(row, t=stamp, command=row)
        else:
            episode.send_many(position[here], t=t[here], command=position[here])
        at += part
    episode.end()
    chunks = kept.of("FrameChunk")
    np.testing.assert_array_equal(values(chunks, "position", 3), position)
    np.testing.assert_array_equal(np.concatenate([chunk.t_ns for chunk in chunks]), t)
    assert max(len(chunk) for chunk in chunks) <= chunk_frames
    assert episode.content_hash == kept.of("EpisodeEnd")[0]["content_hash"] == hash_of(kept)


def test_a_chunk_stays_under_its_bytes_however_many_frames_it_may_hold():
    episode, kept = kept_episode(channels={"tactile": 500}, chunk_frames=64, chunk_bytes=20_000)
    episode.send_many(t=np.arange(100), channels={"tactile": frames(100, 500)})
    episode.end()
    assert 18_000 < max(map(len, kept.messages)) <= 20_000


def test_an_array_used_again_by_the_caller_does_not_change_frames_already_taken():
    episode, kept = kept_episode()
    row = np.zeros(3, np.float32)
    for i in range(4):
        row[:] = i
        episode.send(row, t=i)
    block = np.full((5, 3), 9, np.float32)
    episode.send_many(block, t=np.arange(5))
    block[:] = -1
    episode.end()
    assert values(kept.of("FrameChunk"), "position", 3)[:, 0].tolist() == [0, 1, 2, 3, 9, 9, 9, 9, 9]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("many", [True, False])
def test_nan_becomes_canonical_and_minus_zero_is_kept(dtype: Any, many: bool):
    odd = np.array([0xFFC12345, 0x7F800001, 0x80000000], np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        row = odd.astype(dtype)
    block = np.tile(row, (20, 1))
    before = block.tobytes(), row.tobytes()
    episode, kept = kept_episode()
    if many:
        episode.send_many(block, t=np.arange(20))
    else:
        for i in range(20):
            episode.send(row, t=i)
    episode.end()
    bits = values(kept.of("FrameChunk"), "position", 3).view(np.uint32)
    assert (bits == np.array([0x7FC00000, 0x7FC00000, 0x80000000], np.uint32)).all()
    assert (block.tobytes(), row.tobytes()) == before  # the caller's own arrays
    assert episode.content_hash == hash_of(kept)


def test_float64_is_rounded_once_to_the_nearest_float32_and_that_is_recorded():
    episode, kept = kept_episode(conversions=["degrees to rad"])
    given_row = np.array([0.1, 1e300, -1e-50])
    episode.send(given_row, t=1, velocity=np.zeros(3, np.float32))
    episode.end()
    with np.errstate(all="ignore"):
        assert values(kept.of("FrameChunk"), "position", 3)[0].tolist() == given_row.astype(np.float32).tolist()
    assert kept.of("EpisodeStart")[0]["conversions"] == ["degrees to rad", "position: float64 to nearest float32"]


def test_a_take_without_frames_is_a_start_and_an_end():
    episode, kept = kept_episode(skill="grasp")
    with episode:
        pass
    assert kept.records() == ["EpisodeStart", "EpisodeEnd"]
    assert kept.of("EpisodeEnd")[0]["n_total"] == 0
    assert kept.of("EpisodeStart")[0]["channels"] == []
    assert episode.content_hash == hash_of(kept)


@pytest.mark.parametrize("problem", [ValueError("the gripper slipped"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_ends_the_episode_aborted_and_goes_on(problem: BaseException):
    episode, kept = kept_episode()

    def take() -> None:
        with episode:
            episode.send([1, 2, 3], t=1)
            raise problem

    with pytest.raises(type(problem)) as raised:
        take()
    assert raised.value is problem
    (end,) = kept.of("EpisodeEnd")
    assert (end["outcome"], end["n_total"]) == ("ABORTED", 1)
    assert end["error_cause"] == f"{type(problem).__name__}: {problem}"


def test_an_exception_that_names_a_file_whose_name_is_no_text_ends_it_too():
    episode, kept = kept_episode()
    with pytest.raises(FileNotFoundError), episode:
        raise FileNotFoundError(b"caf\xe9.yaml".decode(errors="surrogateescape"))
    assert kept.of("EpisodeEnd")[0]["error_cause"] == r"FileNotFoundError: caf\udce9.yaml"


def test_a_long_cause_is_trimmed():
    episode, kept = kept_episode()
    with pytest.raises(ValueError, match="xxx"), episode:
        raise ValueError("x" * 10_000)
    assert len(kept.of("EpisodeEnd")[0]["error_cause"]) == 500


def test_outcome_cause_and_restorable_are_the_operators():
    episode, kept = kept_episode()
    with episode:
        episode.send([1, 2, 3], t=1)
        episode.outcome, episode.error_cause, episode.restorable = "FAILURE", "cup fell", False
    (end,) = kept.of("EpisodeEnd")
    assert (end["outcome"], end["error_cause"], end["restorable"]) == ("FAILURE", "cup fell", False)
    with pytest.raises(ContractError, match="'GREAT': allowed are UNKNOWN, SUCCESS, FAILURE, ABORTED"):
        episode.outcome = "GREAT"


def test_after_the_end_nothing_more_is_taken():
    episode, kept = kept_episode()
    episode.end()
    sent = list(kept.messages)
    for late in (
        lambda: episode.send([1, 2, 3]),
        lambda: episode.mark(),
        lambda: episode.send_many([[1, 2, 3]], t=[1]),
    ):
        with pytest.raises(ContractError, match="has ended: begin another"):
            late()
    episode.end("SUCCESS")
    assert kept.messages == sent


def test_an_unknown_mark_is_refused_and_holds_up_nothing():
    episode, kept = kept_episode()
    with pytest.raises(ContractError, match="allowed are NOTE, SUBTASK_BEGIN, SUBTASK_END, LABEL"):
        episode.mark("HELLO")
    with pytest.raises(ContractError):
        episode.mark("NOTE", label=5)  # type: ignore[arg-type]
    episode.end()
    assert kept.records() == ["EpisodeStart", "EpisodeEnd"]


@pytest.mark.parametrize("many", [True, False])
def test_a_send_that_failed_may_be_tried_again_and_no_frame_is_twice_there_or_missing(many: bool):
    episode, kept = kept_episode()
    for i in range(9):
        episode.send([i, i, i], t=i)
    kept.refuse = DeliveryError("no room")
    with pytest.raises(DeliveryError):
        episode.send([9, 9, 9], t=9)  # fills the chunk: taken, but not sent
    assert episode.frames == 10
    with pytest.raises(DeliveryError):
        episode.send([10, 10, 10], t=10)  # there is no room for it: not taken
    assert episode.frames == 10
    kept.refuse = None
    if many:
        episode.send_many(np.full((1, 3), 10), t=[10])
    else:
        episode.send([10, 10, 10], t=10)
    episode.end()
    assert values(kept.of("FrameChunk"), "position", 3)[:, 0].tolist() == list(range(11))
    assert episode.content_hash == hash_of(kept)


def test_an_episode_that_cannot_even_be_ended_does_not_hide_why_it_was_aborted():
    episode, kept = kept_episode()

    def take() -> None:
        with episode:
            episode.send([1, 2, 3], t=1)
            kept.refuse = DeliveryError("the topic is gone")
            raise ValueError("slipped")

    with pytest.raises(ValueError, match="slipped") as raised:
        take()
    assert "the topic is gone" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"skill": 5}, "skill=5: give a text"),
        ({"scene_level": "L9"}, "'L9': allowed are UNKNOWN, L1"),
        ({"subtasks": "reach"}, "give a list of texts"),
        ({"nominal_rate_hz": float("nan")}, "nominal_rate_hz=nan"),
        ({"nominal_rate_hz": None}, "nominal_rate_hz=None"),
        ({"task": "\ud800"}, "give a text"),
        ({"conversions": ["\ud800"]}, "give a list of texts"),
    ],
)
def test_labels_of_another_kind_are_refused(label: dict[str, Any], message: str):
    with pytest.raises(ContractError, match=message):
        kept_episode(**label)


def test_the_sdks_clock_stamps_frames_without_t():
    episode, kept = kept_episode()
    for _ in range(3):
        episode.send([1, 2, 3])
    episode.end()
    (chunk,) = kept.of("FrameChunk")
    start, end = kept.of("EpisodeStart")[0], kept.of("EpisodeEnd")[0]
    assert start["started_at_ns"] == chunk.t_ns[0] < chunk.t_ns[2] <= end["ended_at_ns"]
