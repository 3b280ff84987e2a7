"""Law 3: a joint whose limit nobody declared is never covered by the GOOD of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.streams.quality import Flag, Origin
from tests.unit.quality_samples import JOINTS, context, judged, only, take, value

LIMITED = np.array([10.0, 10.0, np.nan, 10.0])


def measuring_effort(size=1.0):
    frames = take()
    frames.channels["effort"] = np.full((len(frames.seq), len(JOINTS)), size, np.float32)
    known = context(effort=LIMITED, velocity=LIMITED, lower=np.where(np.isnan(LIMITED), np.nan, -2.0))
    return frames, replace(known, channels=(*known.channels, ("effort", len(JOINTS))))


@pytest.mark.parametrize("metric", ["I3", "I4", "I5", "I6", "I8", "I9"])
def test_a_joint_without_the_limit_has_a_row_that_says_so(metric):
    judgement = judged(*measuring_effort())
    assert value(judgement, metric, JOINTS[2]).flag == Flag.NOT_EVALUATED
    assert [row.joint for row in judgement.metrics if row.id == metric] == ["", JOINTS[2]]


def test_how_long_an_effort_may_last_is_our_limit_and_how_great_it_may_be_the_robots():
    frames, known = measuring_effort(11.0)
    frames.channels["effort"][:, 1:] = 1.0
    finding = only(f for f in judged(frames, known).findings if f.metric == "I5")
    assert (finding.unit, finding.threshold, finding.origin) == ("s", 1.0, Origin.OURS)
    frames.channels["effort"][20:, 0] = 1.0
    finding = only(f for f in judged(frames, known).findings if f.metric == "I5")
    assert (finding.unit, finding.threshold, finding.origin) == ("Nm", 10.0, Origin.ROBOT)


def test_rows_of_a_prismatic_joint_are_in_metres_and_beside_no_limit_in_radians():
    frames = take()
    frames.channels["position"][:] = 0.0
    frames.channels["position"][:, 1] = 0.002 * (frames.seq // 100)
    frames.channels["velocity"][:] = 0.0
    frames.channels["command"][:] = frames.channels["position"]
    frames.channels["command"][:, 1] += 0.03
    frames.channels["position"][200, 1] += 0.09
    known = context(prismatic=np.array([False, True, False, False]), velocity=np.full(4, 20.0))
    judgement = judged(frames, known)
    assert [value(judgement, metric).unit for metric in ("K1", "K2", "I9")] == ["m", "m", "m"]
    # its steps are of 2 mm; the others never moved
    assert value(judgement, "I10").flag == Flag.NOT_EVALUATED
    assert value(judged(frames, context()), "I10").flag == Flag.SUSPECT
