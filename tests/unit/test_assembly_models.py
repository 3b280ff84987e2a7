"""Which description of its robot a take is judged by: the one in force when it began, whatever comes later."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from kinestream.schemas.models import Models, load_model, model_of
from tests.assembling import JOINTS, LIMITS, Log, Owner, Take

G1 = load_model("unitree-g1-29-dof")


def described(model_id="my-arm", upper=2.0):
    """A G1 under another name, whose elbows reach only so far."""
    file = files("kinestream.schemas") / "robots" / "unitree-g1-29-dof.json"
    content = json.loads(file.read_text(encoding="utf-8")) | {"model_id": model_id}
    for joint in content["joints"]:
        joint["upper"] = upper if "elbow" in joint["name"] else joint["upper"]
    return model_of(content)


def rules(event):
    return event["rule_version"].partition("/")[2]


def test_the_verdict_names_the_description_it_rests_on():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(*take.whole()))
    assert rules(owner.store.events[0]) == G1.version
    assert G1.version.startswith("unitree-g1-29-dof@")


def test_another_limit_is_another_version_and_another_source_is_not():
    assert described(upper=1.0).version != described(upper=2.0).version == described(upper=2.0).version
    assert replace(G1, maker="nobody").version == G1.version


@pytest.mark.parametrize("crash", [False, True])
def test_a_registration_in_the_middle_of_a_take_is_of_the_next(crash):
    before, after = described(), described(upper=0.1)
    take, log, owner = Take(model="my-arm"), Log(), Owner(models=Models())
    owner.models.register(before)
    owner.feed(log.append(take.start(), take.chunk(0, 150)))
    owner.models.register(after)
    if crash:
        owner.crash()
    log.append(take.chunk(150, 300), take.end())
    owner.feed(log.records[owner.committed :])
    owner.feed(log.append(*(second := Take(model="my-arm", no=2)).whole()))
    first, later = owner.store.events
    assert (rules(first), first["episode_id"]) == (before.version, take.id)
    assert (rules(later), later["episode_id"]) == (after.version, second.id)
    assert first["verdict"] != "REJECT"
    assert later["verdict"] == "REJECT"
    assert {f["joint"] for f in later["findings"] if f["metric"] == "I3"} == {JOINTS[1]}


def test_a_take_of_an_unknown_model_stays_one_when_it_is_registered_meanwhile():
    take, log, owner = Take(model="my-arm"), Log(), Owner(models=Models())
    owner.feed(log.append(take.start(), take.chunk(0, 150)))
    owner.models.register(described(upper=0.1))
    owner.crash()
    log.append(take.chunk(150, 300), take.end())
    owner.feed(log.records[owner.committed :])
    (event,) = owner.store.events
    flags = {metric["id"]: metric["flag"] for metric in event["metrics"]}
    assert (event["verdict"], flags["I3"], rules(event)) == ("UNASSESSED", "NOT_EVALUATED", "")


def test_a_closed_take_is_judged_by_its_own_description_when_late_frames_come():
    before, after = described(), described(upper=0.1)
    take, log, owner = Take(model="my-arm"), Log(), Owner(models=Models())
    owner.models.register(before)
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end()))
    owner.pass_ms(LIMITS.robot_silence_ms)
    log.now_ms = owner.assembler.time_ms
    owner.models.register(after)
    owner.feed(log.append(take.chunk(100, 150)))
    assert [rules(event) for event in owner.store.events] == [before.version] * 2


def test_reading_the_log_again_after_a_registration_makes_no_revision():
    take, log, owner = Take(model="my-arm"), Log(), Owner(models=Models())
    owner.models.register(described())
    owner.feed(log.append(*take.whole()))
    owner.models.register(described(upper=0.1))
    owner.crash()
    owner.feed(log.records)
    assert len(owner.store.events) == 1
    assert owner.assembler.episodes == {}


def test_what_is_registered_stands_over_what_is_described():
    models = Models()
    mine = described("unitree-g1-29-dof", upper=0.5)
    models.register(mine)
    assert models.find("unitree-g1-29-dof") is mine
    assert models.find("unitree-g1-29-dof", G1.version) is G1
    assert models.find("unitree-g1-29-dof", "") is None
    assert models.find("unitree-g1-29-dof", "unitree-g1-29-dof@gone") is mine
    assert models.find("franka-panda") is load_model("franka-panda")
    assert models.registered() == (mine,)
