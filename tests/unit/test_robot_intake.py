"""What a robot may not send: refused whole, before anything is taken, and the episode goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kinestream.producers.intake import declared_channels
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.layout import Channel
from tests.robots import kept_episode

GOOD: dict[str, Any] = {"position": [1, 2, 3], "velocity": [4, 5, 6], "channels": {"hand": [7, 8]}, "t": 5}
BAD_FRAMES = [
    ({"position": [1, 2]}, r"position has shape \(2,\), but \(3,\) is needed"),
    ({"position": [[1, 2, 3]]}, r"position has shape \(1, 3\), but \(3,\) is needed"),
    ({"position": ["a", "b", "c"]}, "position has dtype <U1: give numbers"),
    ({"position": [True, False, True]}, "position has dtype bool"),
    ({"position": [1, 2, 3j]}, "position has dtype complex128"),
    ({"position": [[1], [2, 3]]}, "position is not an array of numbers"),
    (
        {"velocity": None},
        r"\['position', 'hand'\] are given, but this episode measures \['position', 'velocity', 'hand'\]",
    ),
    ({"effort": [1, 2, 3]}, r"\['position', 'velocity', 'effort', 'hand'\] are given"),
    ({"channels": None}, r"\['position', 'velocity'\] are given"),
    ({"channels": {"hand": [1, 2, 3]}}, r"hand has shape \(3,\), but \(2,\) is needed"),
    ({"channels": {"hand": [1, 2], "foot": [1]}}, r"channels \['foot'\] are not declared; declared are \['hand'\]"),
    ({"channels": {"position": [1, 2, 3]}}, r"channels \['position'\] are not declared"),
    ({"t": float("nan")}, "t=nan"),
    ({"t": "now"}, "t='now' is a str"),
]


@pytest.mark.parametrize(("change", "message"), BAD_FRAMES)
def test_a_wrong_frame_is_refused_and_the_episode_goes_on(change: dict[str, Any], message: str):
    episode, kept = kept_episode(channels={"hand": ["thumb", "index"]})
    episode.send(**GOOD)
    with pytest.raises(LayoutError, match=message):
        episode.send(**(GOOD | change))
    episode.send(**GOOD)
    episode.end()
    assert kept.of("EpisodeEnd")[0]["n_total"] == 2
    (chunk,) = kept.of("FrameChunk")
    assert chunk.channels["position"].tolist() == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("change", [{"position": [1, 2]}, {"t": float("inf")}, {"channels": {"foot": [1]}}])
def test_a_wrong_first_frame_sends_nothing_and_fixes_nothing(change: dict[str, Any]):
    episode, kept = kept_episode(channels={"hand": 2})
    with pytest.raises(LayoutError):
        episode.send(**(GOOD | change))
    assert kept.messages == []
    episode.send([1, 2, 3])
    assert kept.records() == ["EpisodeStart"]
    assert [c["name"] for c in kept.of("EpisodeStart")[0]["channels"]] == ["position"]


def test_a_frame_without_values_is_refused():
    episode, _ = kept_episode()
    with pytest.raises(LayoutError, match="a frame without values: give one or more of"):
        episode.send(t=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": np.zeros((4, 2))}, r"position has shape \(4, 2\), but \(n, 3\) is needed"),
        ({"position": np.zeros(3)}, r"position has shape \(3,\)"),
        ({"velocity": np.zeros((5, 3))}, r"velocity has shape \(5, 3\).* with one n for all"),
        ({"t": None}, "send_many without t"),
        ({"t": [1, 2, 3]}, r"t has shape \(3,\), but 4 frames are given"),
        ({"t": [1, 2, 3, float("nan")]}, "nan"),
        ({"position": [["a"] * 3] * 4}, "position has dtype"),
        ({"effort": np.zeros((4, 3))}, "this episode measures"),
    ],
)
def test_wrong_frames_are_refused_together_and_the_episode_goes_on(change: dict[str, Any], message: str):
    good = {"position": np.ones((4, 3)), "velocity": np.ones((4, 3)), "t": [1, 2, 3, 4]}
    episode, _ = kept_episode()
    episode.send_many(**good)
    with pytest.raises(LayoutError, match=message):
        episode.send_many(**(good | change))
    assert episode.frames == 4
    episode.send_many(**good)
    assert episode.frames == 8


def test_channels_are_declared_by_names_by_number_or_whole():
    whole = Channel("wrench", 6, "N")
    made = declared_channels(("a",), {"hand": ["thumb", "index"], "tactile": 3, "wrench": whole})
    assert made[4:] == (Channel("hand", 2, "", ("thumb", "index")), Channel("tactile", 3, ""), whole)


def test_a_channel_declared_under_two_names_is_refused():
    with pytest.raises(LayoutError, match="'hand' is declared as 'wrench'"):
        declared_channels((), {"hand": Channel("wrench", 6, "N")})


def test_a_robot_without_joints_sends_channels_only():
    episode, kept = kept_episode(joints=(), channels={"imu": 3})
    with pytest.raises(LayoutError, match="no joints"):
        episode.send([], channels={"imu": [1, 2, 3]})
    episode.send(channels={"imu": [1, 2, 3]})
    episode.end()
    assert kept.of("FrameChunk")[0].channels["imu"].tolist() == [1, 2, 3]


def test_a_frame_too_large_for_a_chunk_is_refused_before_anything_is_sent():
    episode, kept = kept_episode(channels={"tactile": 300}, chunk_bytes=1000)
    with pytest.raises(LayoutError, match="does not fit in a chunk of 1000"):
        episode.send(channels={"tactile": np.zeros(300)})
    assert kept.messages == []
