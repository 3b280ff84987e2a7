"""The fault matrix in memory: every fault through assembler and judge as a worker runs them, without broker and store.

Seeds here were never looked at while a threshold was chosen; those are data in schemas/rules and know no seed.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kinestream.deploy.bench.trial import UNITS, decidable, explains
from kinestream.producers.fleet.bad_line import cut
from kinestream.producers.fleet.faults import KINDS
from kinestream.producers.fleet.floor import make_take
from kinestream.producers.fleet.matrix import MatrixFloor
from kinestream.producers.fleet.motion import known_model
from kinestream.producers.fleet.take import Sensors
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Channel, Layout
from kinestream.schemas.models import load_model, model_ids
from tests.assembling import LIMITS, T0, Log, Owner

RATE = 100.0
#: What a worker adds in memory: a chunk of ten frames, and the fifth of a second frames are held back.
ADDED_MS = 400
MODELS = ("unitree-g1-29-dof", "franka-panda", "willow-garage-pr2", "universal-robots-ur5e")


def made(model_id, name, seed):
    """A take of a robot drawn from the seed, and its fault."""
    body = known_model(model_id)
    for number in range(20):
        rng = np.random.default_rng([seed, number])
        take, fault = make_take(rng, body, 2.6 if name == "half_idle" else 5.2, RATE, name, Sensors.drawn(rng))
        if fault or not name:
            return body, take, fault
    raise AssertionError(f"no room for {name} in {model_id}")


class Stream:
    """One take as it reaches a worker, chunk by chunk at the time it is measured."""

    def __init__(self, body, take):
        width = len(body.joint_names)
        self.take, self.id = take, f"0190{np.random.default_rng(len(take)).integers(1e11):012d}-sim"
        self.layout = Layout(body.joint_names, tuple(Channel(name, width, unit) for name, unit in UNITS.items()))
        self.log, self.owner = Log(), Owner()
        self.began_ms = self.log.now_ms
        #: (broker time since the take's start, finding) in the order in which they changed
        self.heard = []
        identity = {"tenant": "hub", "robot_id": "r1", "model_id": body.model_id, "boot_id": "b", "episode_id": self.id}
        start = {"episode_no": 1, "started_at_ns": T0, "nominal_rate_hz": RATE, "skill": "grasp"}
        self._feed(0, ("EpisodeStart", {**identity, **start, **self.layout.to_avro()}))

    def _feed(self, ms, *records):
        self.log.now_ms = self.began_ms + ms
        before = len(self.owner.store.findings)
        self.owner.feed(self.log.append(*records, after_ms=0))
        self.heard += [(ms, change) for change in self.owner.store.findings[before:]]

    def play(self):
        take, hasher = self.take, ContentHasher(self.layout)
        for first, last in pairwise([*range(0, len(take), 10), len(take)]):
            part = slice(first, last)
            t_ns = T0 + take.t_ns[part]
            values = {name: getattr(take, name)[part] for name in UNITS}
            hasher.add(first, t_ns, values)
            chunk = FrameChunk(self.id, self.layout.layout_id, first, int(t_ns[0]), (t_ns - t_ns[0]) / 1e9, values)
            self._feed(int(take.t_ns[part].max() // 1_000_000), *(("FrameChunk", part) for part in cut(chunk, take)))
        ended_ms = int(take.t_ns.max() // 1_000_000) + 10
        end = {"episode_id": self.id, "n_total": len(take), "content_hash": hasher.hexdigest(), "ended_at_ns": T0}
        self._feed(ended_ms, ("EpisodeEnd", end))
        self.owner.pass_ms(LIMITS.incomplete_ms + 1000)
        return self

    @property
    def holding(self):
        """(metric, joint) of every finding that holds at the end."""
        last = {change.finding.finding_id: change for change in self.owner.store.findings}
        return {(c.finding.metric, c.finding.joint) for c in last.values() if c.state != "CLEARED"}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "duplicate"])
@pytest.mark.parametrize("model_id", MODELS)
def test_a_fault_is_found_by_its_metric_on_its_joint_while_the_take_runs(model_id, name):
    body, take, fault = made(model_id, name, 4711)
    stream = Stream(body, take).play()
    assert any(explains(fault, *found) for found in stream.holding), stream.holding
    first_ms = min(ms for ms, change in stream.heard if explains(fault, change.finding.metric, change.finding.joint))
    known_ms = take.t_ns[decidable(body, take, fault, RATE)] / 1e6 + (LIMITS.hole_ms if name == "loss" else 0)
    assert first_ms - known_ms <= ADDED_MS
    assert first_ms <= take.t_ns.max() / 1e6


def fit(model_id):
    """Whether some joint's limits are all known."""
    model = load_model(model_id)
    return bool(np.isfinite([model.lower, model.upper, model.velocity]).all(axis=0).any())


@pytest.mark.parametrize("model_id", [model_id for model_id in model_ids() if fit(model_id)][::3])
def test_nothing_is_ever_found_in_a_clean_take_of_any_model(model_id):
    body, take, _ = made(model_id, "", 815)
    assert Stream(body, take).play().heard == []


def test_a_matrix_has_every_fault_once_and_in_every_take_and_many_clean_ones():
    floor = MatrixFloor(seed=99, episodes=20)
    told = {"single": {}, "systemic": {}}
    clean = 0
    for post in floor.posts:
        cell = floor.cell(post)
        names = [floor.fault_of(post, number) for number in range(floor.takes(post))]
        assert set(names) <= {"", cell.fault}
        told[cell.mode][cell.fault] = sum(map(bool, names))
        clean += names.count("")
    assert told["single"] == dict.fromkeys(KINDS, 1)
    assert told["systemic"] == dict.fromkeys(KINDS, 20)
    assert clean >= 200


def test_a_repeated_take_holds_the_same_values():
    floor = MatrixFloor(seed=7, episodes=2)
    post = next(p for p in floor.posts if floor.cell(p).fault == "duplicate" and floor.cell(p).mode == "systemic")
    first, second, third = (floor.order(post, number) for number in range(3))
    assert (first.fault, second.fault.name, third.fault.name) == (None, "duplicate", "duplicate")
    for name in ("t_ns", *UNITS):
        assert getattr(first.take, name).tobytes() == getattr(third.take, name).tobytes()
