"""What people want done with episodes: withdraw and correct, once, also when a command is read again."""

from __future__ import annotations

import pytest

from tests.assembling import LIMITS, PLACE, Log, Owner, Take


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


def test_a_correction_that_changes_nothing_makes_no_revision():
    take, _, owner, commands = done()
    owner.command(*commands.append(command(take, "CORRECT", labels={"skill": "grasp"})))
    assert len(owner.store.announced) == 1
    assert owner.assembler.episodes == {}


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [("REVIEW", {}, "INCONSISTENT"), ("RESCORE", {}, "INCONSISTENT"), ("CORRECT", {"labels": {"robot_id": "x"}},
     "INCONSISTENT"), ("WITHDRAW", {"episode_id": "nobody"}, "NO_START")],
)  # fmt: skip
def test_a_command_that_cannot_be_carried_out_is_a_dead_letter(kind, fields, reason):
    take, _, owner, commands = done()
    (letter,) = owner.command(*commands.append(command(take, kind, **fields)))
    assert letter.reason == reason
    assert len(owner.store.announced) == 1
