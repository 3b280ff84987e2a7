"""S7: what a trigger opens flutters; the fingers of a hand do not, and what has no unit is not judged."""

import numpy as np
import pytest

from kinestream.streams.quality.arms import grippers_of
from tests.unit.quality_samples import context, judged, only, take, value

FLUTTER = 0.5 + 0.2 * np.sign(np.sin(2 * np.pi * 4 * np.arange(400) / 100 + 0.1))


def gripping(names, unit="1"):
    frames = take()
    frames.channels["hand"][:] = 0.5
    frames.channels["hand_position"] = frames.channels.pop("hand")
    frames.channels["hand_position"][:, 1] = FLUTTER
    own = tuple(channel for channel in context().channels if channel[0] != "hand")
    return judged(
        frames,
        context(
            channels=(*own, ("hand_position", 2)),
            element_names={"hand_position": names},
            channel_units={"hand_position": unit},
        ),
    )


def test_a_gripper_that_flutters_is_named_with_its_reversals():
    finding = only(f for f in gripping(("jaw", "gripper")).findings if f.metric == "S7")
    assert (finding.joint, finding.flag) == ("hand_position.gripper", "FAIL")
    assert finding.value in (8, 9)  # there and back, four times a second


@pytest.mark.parametrize(("names", "unit"), [(("thumb", "index"), "1"), (("jaw", "gripper"), "")])
def test_fingers_and_what_has_no_unit_are_not_judged(names, unit):
    judgement = gripping(names, unit)
    assert value(judgement, "S7").flag == "NOT_EVALUATED"
    assert not [f for f in judgement.findings if f.metric == "S7"]


def test_a_finger_is_a_grippers_unless_the_hand_has_others():
    assert grippers_of(("elbow", "panda_finger_joint1", "left_gripper")) == (1, 2)
    assert grippers_of(("RightFingerBase.Xrotation", "RThumb.Xrotation", "claw")) == (2,)
