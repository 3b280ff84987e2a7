"""A fetch that comes while an episode is announced: the worker reads on, and nothing of it may be forgotten early."""

from __future__ import annotations

from tests.assembling import Log, Owner, Take


def test_a_fetch_between_sealing_and_announcing_leaves_the_episode_to_be_announced() -> None:
    owner, log, take, other = Owner(), Log(), Take(), Take(robot="r2")
    owner.feed(log.append(*take.whole()), flush=False)
    assembler = owner.assembler
    due = assembler.take()
    owner.make_durable(due)
    assembler.confirm(due)
    (closing,) = due.closing
    assembler.seal(closing, None)
    records = log.append(other.start())
    owner.prepare(records)
    assembler.process(records, live=True)
    assembler.announced(closing)
    assert closing not in assembler.episodes
    assert assembler.counts["completed"] == 1
