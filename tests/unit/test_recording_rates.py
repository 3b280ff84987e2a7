"""The nominal rate of a source that declares none: what gaps and jitter are judged against."""

import numpy as np
import pytest

from kinestream.producers.recordings.clocks import usual_rate
from kinestream.producers.recordings.take import Clock


def clock(periods_ms):
    t_ns = np.concatenate(([0], np.cumsum(np.asarray(periods_ms) * 1e6))).astype(np.int64)
    return Clock("stamp", t_ns, 1, False, "")


@pytest.mark.parametrize(
    ("periods_ms", "rate"),
    [
        ([20.05] * 40, 50.0),  # within 1 % of a round rate, that one is meant
        ([23.0] * 40, 43.478),  # near none
        ([33.4] * 40 + [394.0] * 12, 30.0),  # stalls do not change it
        ([33.4] * 9, 0.0),  # too few to tell
        ([0.0] * 30 + [10.0] * 9, 0.0),  # a clock that mostly stands still
    ],
)
def test_it_is_that_of_the_median_period(periods_ms, rate):
    assert usual_rate(clock(periods_ms)) == rate
