"""What people want done with episodes: withdraw and correct, once, also when a command is read again."""

from __future__ import annotations

import pytest

from kinestream.streams.assembly.commands import OBEYED
from tests.assembling import LIMITS, PLACE, Log, Owner, Take

RULES = '[{"file":"x.yaml","scope":"global","of":"","name":"strict","version":1,"thresholds":{"loss_fail":0.0}}]'

WRONG = RULES.replace("loss_fail", "lost")


def events(owner):
    return [(e["status"], e["reason"], e["frames_unique"]) for e in owner.store.events]


def restart(owner, log):
    """The worker dies, and reads again what it had not committed."""
    owner.crash()
    owner.feed(log.records[owner.committed :])


def command(take, kind, **fields):
    value = {"command_id": "c1", "tenant": "hub", "robot_id": take.robot, "episode_id": take.id,
             "lane": PLACE.topic, "kind": kind, "by": "p7", **fields}  # fmt: skip
    return "EpisodeCommand", value


def done(take=None):
    take, log, owner = take or Take(), Log(), Owner()
    owner.feed(log.append(*take.whole()))
    return take, log, owner, Log(now_ms=log.now_ms)


def test_a_withdrawn_episode_is_announced_as_such_and_its_records_are_dropped():
    take, log, owner, commands = done()
    assert owner.command(*commands.append(command(take, "WITHDRAW", note="consent"))) == []
    event = owner.store.events[1]
    assert (event["revision"], event["by"], event["note"], event["command_id"]) == (2, "p7", "consent", "c1")
    row = owner.store.episodes[take.id].closed
    assert (row["status"], row["reason"], row["final"]) == ("WITHDRAWN", "WITHDRAWN", 1)
    owner.feed(log.append(take.start(), take.chunk(0, 10), take.mark(3)))
    assert owner.assembler.counts["withdrawn"] == 3
    assert owner.store.dead_letters == []
    assert owner.assembler.command_watermark() == 1


def test_an_open_episode_can_be_withdrawn():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 130)))
    owner.command(*Log(now_ms=log.now_ms).append(command(take, "WITHDRAW")))
    assert owner.store.events[0]["revision"] == 1
    owner.feed(log.append(take.chunk(130, 300), take.end()))
    assert owner.assembler.counts["withdrawn"] == 2
    assert len(owner.store.announced) == 1


def test_corrected_labels_make_a_revision_and_stay():
    take, log, owner, commands = done()
    owner.command(*commands.append(command(take, "CORRECT", labels={"skill": "pour"})))
    first, second = owner.store.events
    assert (second["revision"], second["reason"], second["skill"], first["skill"]) == (2, "CORRECTED", "pour", "grasp")
    assert second["verdict"] == first["verdict"]
    owner.feed(log.append(take.mark(5)))
    owner.pass_ms(LIMITS.incomplete_ms)
    assert (owner.store.events[2]["skill"], owner.store.events[2]["reason"]) == ("pour", "LATE_FRAMES")


def test_a_correction_of_an_open_episode_waits_for_its_close():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100)))
    owner.command(*Log(now_ms=log.now_ms).append(command(take, "CORRECT", labels={"task": "cups"})))
    restart(owner, log)
    owner.feed(log.append(take.chunk(100, 300), take.end()))
    event = owner.store.event()
    assert (event["revision"], event["reason"], event["task"]) == (1, "CLOSED", "cups")


@pytest.mark.parametrize("kind", ["WITHDRAW", "CORRECT"])
def test_a_command_read_again_does_nothing(kind):
    take, _, owner, commands = done()
    records = commands.append(command(take, kind, labels={"skill": "pour"}))
    owner.command(*records)
    owner.crash()
    owner.command(*records)
    assert len(owner.store.announced) == 2
    assert owner.assembler.command_watermark() == 1


def correct(take, name, skill):
    return command(take, "CORRECT", command_id=name, labels={"skill": skill})


@pytest.mark.parametrize("crash", [False, True], ids=["at once", "after a restart"])
def test_a_command_sent_twice_has_one_effect_though_others_came_between(crash):
    take, log, owner, commands = done()
    owner.command(*commands.append(correct(take, "c1", "pour")))
    owner.command(*commands.append(correct(take, "c2", "wipe")))
    if crash:
        restart(owner, log)
    assert owner.command(*commands.append(correct(take, "c1", "pour"))) == []
    assert [event["skill"] for event in owner.store.events] == ["grasp", "pour", "wipe"]
    assert owner.assembler.episodes == {}
    assert owner.assembler.command_watermark() == 3


def test_the_same_holds_while_the_episode_is_open_and_while_it_closes():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100)))
    commands = Log(now_ms=log.now_ms)
    owner.command(*commands.append(*(correct(take, *one) for one in (("c1", "pour"), ("c2", "wipe"), ("c1", "pour")))))
    restart(owner, log)
    owner.command(*commands.append(correct(take, "c1", "pour")))
    owner.feed(log.append(take.chunk(100, 300), take.end()))
    assert [event["skill"] for event in owner.store.events] == ["wipe"]


def test_a_command_without_an_id_is_its_own_each_time():
    take, _, owner, commands = done()
    for skill in ("pour", "wipe", "pour"):
        owner.command(*commands.append(correct(take, "", skill)))
    assert [event["skill"] for event in owner.store.events] == ["grasp", "pour", "wipe", "pour"]


@pytest.mark.parametrize("crash", [False, True], ids=["at once", "after a restart"])
def test_commands_are_obeyed_though_a_broker_that_lost_its_tail_hands_out_their_offsets_again(crash):
    take, log, owner, lost = done()
    owner.command(*lost.append(correct(take, "c1", "pour")))
    owner.command(*lost.append(correct(take, "c2", "wipe")))
    again = Log(now_ms=lost.now_ms)
    later = again.append(correct(take, "c3", "fold"))
    if crash:
        restart(owner, log)
    owner.command(*later)
    assert owner.store.events[-1]["skill"] == "fold"
    said = len(owner.store.events)
    owner.command(*later)
    assert len(owner.store.events) == said


def test_a_refused_command_may_be_sent_again_under_its_id():
    take, log, owner = Take(), Log(), Owner()
    commands = Log(now_ms=log.now_ms)
    (letter,) = owner.command(*commands.append(correct(take, "c1", "pour")))
    assert letter.reason == "NO_START"
    owner.feed(log.append(*take.whole()))
    assert owner.command(*commands.append(correct(take, "c1", "pour"))) == []
    assert [event["skill"] for event in owner.store.events] == ["grasp", "pour"]


def test_only_so_many_ids_are_remembered():
    take, _, owner, commands = done()
    for number in range(OBEYED + 5):
        owner.command(*commands.append(correct(take, f"c{number}", f"s{number}")))
    assert owner.store.episodes[take.id].facts["obeyed"] == [f"c{number}" for number in range(5, OBEYED + 5)]


def test_a_correction_that_changes_nothing_makes_no_revision():
    take, _, owner, commands = done()
    owner.command(*commands.append(command(take, "CORRECT", labels={"skill": "grasp"})))
    assert len(owner.store.announced) == 1
    assert owner.assembler.episodes == {}


@pytest.mark.parametrize(
    ("kind", "fields", "reason", "said"),
    [
        ("UNKNOWN", {}, "INCONSISTENT", "UNKNOWN is not carried out: CORRECT, RESCORE, REVIEW, WITHDRAW are"),
        ("REVIEW", {}, "INCONSISTENT", "a REVIEW that says UNASSESSED and no label"),
        ("REVIEW", {"verdict": "ACCEPT", "labels": {"boot_id": "b"}}, "INCONSISTENT", "'boot_id'] cannot be set"),
        ("REVIEW", {"verdict": "ACCEPT", "revision": -1}, "INCONSISTENT", "revision -1 was never seen"),
        ("RESCORE", {"rule_version": "other-1@00"}, "INCONSISTENT", "rules other-1@00 are meant, but this worker"),
        ("RESCORE", {"pins": {"rules": "[3]"}}, "INCONSISTENT", "are no JSON array of overlays"),
        (
            "RESCORE",
            {"pins": {"rules": WRONG}},
            "INCONSISTENT",
            "there is no threshold 'lost'",
        ),
        ("RESCORE", {"pins": {"limits": "x"}}, "INCONSISTENT", "pins ['limits'] say nothing: rules, model, task do"),
        ("CORRECT", {"labels": {"robot_id": "x"}}, "INCONSISTENT", "'robot_id'] cannot be set right"),
        ("WITHDRAW", {"episode_id": "nobody"}, "NO_START", "episode nobody is not known here"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_a_dead_letter(kind, fields, reason, said):
    take, _, owner, commands = done()
    (letter,) = owner.command(*commands.append(command(take, kind, **fields)))
    assert (letter.reason, said in letter.text) == (reason, True), letter.text
    assert len(owner.store.announced) == 1
    assert owner.assembler.episodes == {}
