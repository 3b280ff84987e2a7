"""Law 7: what an open episode holds for its metrics is bounded, whatever its length, its motion and its chunks."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.deploy.bench.floor import MODEL, RATE_HZ, motions
from kinestream.deploy.bench.state import CHANNELS, measure_state
from kinestream.producers.fleet.motion import known_model
from kinestream.producers.fleet.take import Take

#: Bytes of all sums and windows, Python's own included.
BOUND = 96_000


def circling(frames: int) -> Take:
    """All joints move without a pause: each movement is the longest there may be."""
    (other,), model, t = motions(1, frames), known_model(MODEL), np.arange(frames)[:, None] / RATE_HZ
    way, phase = 0.05 * (model.upper - model.lower), 2 * np.pi * 0.3 * t + np.linspace(0, 6, len(model.lower))
    middle = (model.lower + model.upper) / 2
    position, velocity = middle + way * np.sin(phase), way * 2 * np.pi * 0.3 * np.cos(phase)
    command = (middle + way * np.sin(phase + 0.05)).astype(np.float32)
    return Take(other.t_ns, position.astype(np.float32), velocity.astype(np.float32), other.effort, command)


@pytest.mark.parametrize("chunk", [1, 10, 64])
def test_32_joints_of_3_channels_stay_within_the_law(chunk: int) -> None:
    (reaches,) = motions(1, 1_500)
    for motion in (reaches, circling(1_500)):
        most = measure_state(motion, chunk)
        assert sum(most.values()) <= BOUND, most


def test_a_long_take_holds_no_more_than_a_short_one() -> None:
    (long,) = motions(1, 30_000)
    assert sum(measure_state(long, 250).values()) <= BOUND


def test_a_command_adds_its_window_and_no_more() -> None:
    most = measure_state(circling(1_500), 10, channels=(*CHANNELS, "command"))
    assert sum(most.values()) <= BOUND + 32_000, most
