"""D3: a hand that the task wants at rest, and the box it declares; nothing where it declares neither."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.schemas.errors import RulesError
from kinestream.schemas.rule_files import numbers, overlay
from kinestream.streams.quality import BUILTIN, EpisodeJudge, Flag
from kinestream.streams.quality.declared import CHANNEL
from tests.unit.quality_samples import context, only, part, take, value, whole

ENDS = tuple(f"{end}_{axis}" for end in ("left_hand", "right_hand", "left_foot") for axis in "xyz")


def judged(rules=BUILTIN, speed: float = 0.1, names=ENDS):
    """The left hand moves along x at ``speed`` m/s from 0.2 m, the right one rests at -0.2 m, the foot runs."""
    frames, known = take(400, wobble_ns=0), context()
    t = np.arange(400) / 100
    places = np.zeros((400, 9), np.float32)
    places[:, 0], places[:, 3], places[:, 6] = 0.2 + speed * t, -0.2, 5 * t
    frames.channels[CHANNEL] = places
    known = replace(
        known, channels=(*known.channels, (CHANNEL, 9)), element_names={**known.element_names, CHANNEL: names}
    )
    judge = EpisodeJudge(known, rules)
    for first in range(0, 400, 10):
        judge.advance(part(frames, first, first + 10))
    return judge.final(whole(frames))


def test_without_a_declaration_or_a_measurement_it_is_not_evaluated() -> None:
    declared = replace(BUILTIN, rest_left_speed=0.05)
    for told in (judged(), judged(declared, names=())):
        assert value(told, "D3").flag == value(told, "D3.outside").flag == Flag.NOT_EVALUATED
        assert (told.findings, told.verdict) == ((), "ACCEPT")


@pytest.mark.parametrize(("speed", "flag"), [(0.0499, Flag.GOOD), (0.0501, Flag.SUSPECT)])
def test_a_hand_that_is_to_rest_moves_at_most_at_the_declared_mean_speed(speed: float, flag: Flag) -> None:
    told = judged(replace(BUILTIN, rest_left_speed=0.05, rest_right_speed=0.05), speed)
    assert value(told, "D3").flag == flag
    assert value(told, "D3").value == pytest.approx(speed, rel=1e-4)
    if flag == Flag.SUSPECT:
        finding = only(told.findings)
        assert (finding.metric, finding.joint, finding.origin, told.verdict) == ("D3", "left_hand", "task", "REVIEW")
        assert finding.message.startswith("left hand moves at 0.05 m/s")


def test_a_hand_that_leaves_the_box_is_named_from_that_frame_on() -> None:
    box = {"box_low_x": -0.3, "box_high_x": 0.5, "box_low_y": -1.0, "box_high_y": 1.0, "box_low_z": -1.0,
           "box_high_z": 1.0}  # fmt: skip
    told = judged(replace(BUILTIN, **box))
    finding = only(told.findings)
    assert (finding.joint, finding.first_seq, finding.unit) == ("left_hand", 301, "m")
    assert finding.value == pytest.approx(0.099, abs=1e-3)
    assert value(told, "D3.outside").value == pytest.approx(99 / 400, abs=0.003)


def test_rules_of_a_skill_declare_places_below_zero_and_no_other_threshold_may_be() -> None:
    text = "name: site\nversion: 1\nskill: wipe\nthresholds: {box_low_x: -0.3, rest_left_speed: 0.05}"
    assert overlay("wipe.yaml", text).content["thresholds"]["box_low_x"] == -0.3
    given = overlay("wipe.yaml", text.replace("0.05", "-0.05"))
    with pytest.raises(RulesError, match="at least 0"):
        numbers(given, given.content["thresholds"], None)
