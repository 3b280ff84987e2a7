"""Whose commands are whose, what may be asked for, and up to where they are durable."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kinestream.schemas.errors import ContractError, RefusedError
from kinestream.streams.assembly.values import DeadLetter
from kinestream.streams.command_sender import carried_out, check_takes, labels_of
from kinestream.streams.commanding import _Held, chosen
from tests.assembling import PLACE, Log, Take

LANES = (PLACE.topic, "motion.hub.frames-bulk.v1")


def command(lane):
    value = {"command_id": "c", "tenant": "hub", "robot_id": "r1", "episode_id": "e", "lane": lane, "by": "p"}
    return "EpisodeCommand", {**value, "kind": "WITHDRAW"}


def test_each_lane_takes_its_own_and_the_first_refuses_what_is_nobodys():
    records = Log().append(command(LANES[0]), command(LANES[1]), command("elsewhere"), Take().start())
    broken = DeadLetter(4, 0, b"r1", b"?", "UNDECODABLE", "no record")
    mine, refused = chosen([*records, broken], LANES[0], LANES)
    assert ([r.offset for r in mine], [r.offset for r in refused]) == ([0], [2, 3, 4])
    assert "lane 'elsewhere'" in refused[0].text
    mine, refused = chosen([*records, broken], LANES[1], LANES)
    assert ([r.offset for r in mine], refused) == ([1], [])


@pytest.mark.parametrize(
    ("obeyed", "waiting", "mark"), [(-1, -1, 7), (5, 5, 7), (5, 3, 3), (5, 0, 0)], ids=["none", "done", "one", "first"]
)
def test_only_what_is_durable_counts_as_read(obeyed, waiting, mark):
    held = _Held(SimpleNamespace(assembler=SimpleNamespace(command_watermark=lambda: waiting)))
    held.position, held.obeyed = 7, obeyed
    assert held.mark() == mark


@pytest.mark.parametrize(
    ("words", "said"),
    [(["skill"], "no label"), (["boot_id=b"], "boot_id' cannot be corrected"), (["skill=a", "skill=b"], "twice")],
)
def test_labels_that_cannot_be_set_right_are_refused(words, said):
    with pytest.raises(ContractError, match=said):
        labels_of(words)


def test_labels_may_hold_any_text():
    assert labels_of(["skill=place", "task=a=b", "area="]) == {"skill": "place", "task": "a=b", "area": ""}


def test_what_would_change_nothing_is_refused():
    placed = {"episode_id": "e", "status": "COMPLETE", "reason": "CLOSED", "revision": 1, "skill": "grasp"}
    check_takes(placed, "WITHDRAW", {})
    check_takes(placed, "CORRECT", {"skill": "grasp", "job": "j"})
    for changed in ({"status": "WITHDRAWN"}, {"status": "QUARANTINED"}, {}):
        with pytest.raises(RefusedError):
            check_takes({**placed, **changed}, "CORRECT", {"skill": "grasp"})


def test_late_frames_do_not_count_as_the_correction():
    before = {"episode_id": "e", "status": "INCOMPLETE", "reason": "CLOSED", "revision": 1}
    assert not carried_out({**before, "revision": 2, "reason": "LATE_FRAMES"}, before, "CORRECT")
    assert carried_out({**before, "revision": 3, "reason": "CORRECTED"}, before, "CORRECT")
