"""What waits for the store: all of it can be drained by writing, whatever the log does meanwhile."""

from __future__ import annotations

from tests.assembling import Log, Owner, Take


def drained(owner: Owner) -> int:
    """Bytes still waiting once everything was written and nothing more was read."""
    due = owner.assembler.take(everything=True)
    owner.make_durable(due)
    owner.assembler.confirm(due)
    return owner.assembler.inflight_bytes()


def test_partial_blocks_wait_until_they_are_written_however_young() -> None:
    owner, log, take = Owner(), Log(), Take(frames=300)
    owner.feed(log.append(take.start(), *take.chunks()[:5]), flush=False)
    assert owner.assembler.inflight_bytes() > 0
    assert drained(owner) == 0


def test_full_blocks_behind_a_hole_do_not_wait_once_they_are_written() -> None:
    """They stay in memory until the hole is given up, which takes broker time: held back, a log has none."""
    owner, log, take = Owner(), Log(), Take(frames=1000)
    chunks = take.chunks()
    owner.feed(log.append(take.start(), *chunks[:3], *chunks[4:], after_ms=0), flush=False)
    assert owner.assembler.inflight_bytes() > 0
    assert drained(owner) == 0


def test_blocks_of_a_restored_episode_do_not_wait() -> None:
    owner, log, take = Owner(), Log(), Take(frames=1000)
    chunks = take.chunks()
    owner.feed(log.append(take.start(), *chunks[:3], *chunks[4:30], after_ms=0), flush=False)
    assert drained(owner) == 0
    owner.crash()
    assert owner.assembler.episodes
    assert owner.assembler.inflight_bytes() == 0
