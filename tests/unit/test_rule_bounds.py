"""No threshold that rules may have costs a judge its life, whatever it makes of the take."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from kinestream.schemas.errors import RulesError
from kinestream.schemas.rule_files import ABOVE_0, MOST, MOST_S, PLACES
from kinestream.schemas.rulebook import join_rules
from kinestream.streams.quality import BUILTIN, EpisodeJudge
from tests.unit.quality_samples import context, take, whole
from tests.unit.test_rulebook import GLOBAL, overlay

LABELS = {"version", "required", "classes"}
THRESHOLDS = [field.name for field in fields(BUILTIN) if field.name not in LABELS]


def worked(n=700):
    """A take in which every family has something to judge: motion, rest, a command ahead, the broker's stamps."""
    frames = take(n)
    t, noise = np.arange(n)[:, None] / 100, np.random.default_rng(0)
    position = np.sin(t * (1, 0.7, 1.3, 0.2)) * 0.8 + noise.normal(0, 1e-3, (n, 4))
    position[200:320] = position[200]
    frames.channels["position"][:] = position
    frames.channels["command"][:] = np.roll(position, -5, axis=0)
    frames.channels["velocity"][:] = np.gradient(position, 0.01, axis=0)
    frames.broker_ns = frames.t_ns + 30_000_000
    return frames


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_take_is_judged_by_the_least_and_the_most_a_threshold_may_be(name):
    most = MOST_S if name.endswith("_s") else MOST
    least = -MOST if name.startswith(PLACES) else 1e-300 if name in ABOVE_0 else 0
    kind = type(getattr(BUILTIN, name))
    frames = worked()
    for value in (kind(least), kind(most)):
        judge = EpisodeJudge(context(), replace(BUILTIN, **{name: value}))
        judge.advance(frames)
        assert judge.final(whole(frames)).verdict in ("ACCEPT", "REVIEW", "REJECT")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("step_window_s", 0.0, "above 0 and at most 600"),
        ("lag_longest_s", 601.0, "at least 0 and at most 600"),
        ("move_open", 1e300, "at least 0 and at most 1e"),
        ("limit_frames", -1, "at least 0"),
        ("box_low_x", -2e6, "at least -1e"),
        ("near_time", float("nan"), "a finite number"),
    ],
)
def test_what_lies_beyond_is_refused_with_what_is_allowed(name, value, said):
    with pytest.raises(RulesError, match=f"{name} is .*{said}"):
        join_rules([GLOBAL, overlay(thresholds={name: value})])
