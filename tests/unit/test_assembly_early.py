"""An episode of which a former owner stored more than the journal knows: it waits for those records, not for ever."""

from __future__ import annotations

import pytest

from tests.assembling import Log, Owner, Take
from tests.unit.test_assembly_commands import command


def successor(after_ms=10, take=None):
    """The rows of a whole take are stored, its journal says OPEN; and the log up to its end mark, which came early."""
    take, log = take or Take(130), Log()
    log.append(take.start(), take.end(), take.chunk(0, 130), after_ms=after_ms)
    owner = Owner()
    owner.feed(log.records[:2])
    owner.prepare(log.records[2:])
    owner.assembler.process(log.records[2:], live=True)
    for row in owner.assembler.take().blocks:
        owner.store.put_block(row)
    owner.crash()
    return owner, log


@pytest.mark.parametrize("after_ms", [0, 10])
def test_it_closes_once_they_are_read_again(after_ms):
    """Also those of the same millisecond: the end mark's own time is no reason to close before them."""
    owner, log = successor(after_ms)
    owner.feed(log.records[:2])
    assert owner.store.events == []
    owner.feed(log.records[2:])
    assert [(e["status"], e["hash_verified"]) for e in owner.store.events] == [("COMPLETE", True)]


def test_where_the_log_ends_before_them_it_is_due_when_that_is_confirmed():
    owner, _ = successor()
    (episode,) = owner.assembler.episodes.values()
    time = owner.assembler._time
    time.pass_time(episode.ended_ms(), offset=episode.last_offset())
    assert episode.phase != "CLOSING"
    assert time.next_ms() <= episode.ended_ms()
    time.pass_time(episode.ended_ms())
    assert (episode.phase, episode.closing_status) == ("CLOSING", "COMPLETE")


@pytest.mark.parametrize("kind", ["CORRECT", "REVIEW", "RESCORE"])
def test_no_command_takes_back_a_withdrawal_that_waits_for_them(kind):
    take = Take(130)
    owner, log = successor(take=take)
    owner.feed(log.records[:1])
    commands = Log(now_ms=log.now_ms)
    owner.command(*commands.append(command(take, "WITHDRAW")))
    owner.command(*commands.append(command(take, kind, command_id="c2", labels={"skill": "place"})))
    owner.feed(log.records[1:])
    owner.pass_ms(1_000)
    assert owner.store.event()["command_id"] == "c1"
    assert owner.store.episodes[take.id].closed["status"] == "WITHDRAWN"
