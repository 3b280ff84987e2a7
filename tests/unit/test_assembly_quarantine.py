"""Episodes that fail: repeated, then quarantined, their neighbours unharmed."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.streams.quality import EpisodeJudge
from tests.assembling import LIMITS, Log, Owner, Take


def restart(owner, log):
    """The worker dies, and reads again what it had not committed."""
    owner.crash()
    owner.feed(log.records[owner.committed :])


class Broken(EpisodeJudge):
    """A judge with a defect that only some episodes meet."""

    def final(self, delivery, twins=None):
        if self.context.nominal_rate_hz == 13:
            raise ZeroDivisionError("13 is no rate")
        return super().final(delivery, twins)


class BrokenLive(EpisodeJudge):
    def advance(self, frames):
        if self.context.nominal_rate_hz == 13:
            raise ZeroDivisionError("13 is no rate")
        super().advance(frames)


def quarantined(judge, *, crash=False):
    owner, log = Owner(judge=judge), Log()
    bad, good = Take(rate=13.0), Take(robot="r2")
    owner.feed(log.append(bad.start(), good.start(), *bad.chunks(), *good.chunks()))
    if crash:
        restart(owner, log)
    owner.feed(log.append(bad.end(), good.end()))
    return owner, log, bad, good


@pytest.mark.parametrize("judge", [Broken, BrokenLive])
@pytest.mark.parametrize("crash", [False, True])
def test_an_episode_that_fails_three_times_is_quarantined_and_its_neighbours_are_not(judge, crash):
    owner, _, bad, good = quarantined(judge, crash=crash)
    statuses = {e["episode_id"]: e["status"] for e in owner.store.events}
    assert statuses == {bad.id: "QUARANTINED", good.id: "COMPLETE"}
    (event,) = [e for e in owner.store.events if e["episode_id"] == bad.id]
    assert (event["verdict"], event["final"], event["content_hash"]) == ("REVIEW", True, "")
    assert owner.store.rewinds == [(bad.id, 0, 62)], "from where to where its records are to be dead-lettered"
    assert owner.store.in_flight() == []


def unannounced(owner, take, log):
    """An episode is sealed, and its announcement refused."""
    records = log.append(*take.whole())
    owner.prepare(records)
    owner.assembler.process(records, live=True)
    refuse(owner, take)


def refuse(owner, take):
    due = owner.assembler.take()
    owner.make_durable(due)
    owner.assembler.confirm(due)
    assert due.closing == [take.id]
    closed = owner.assembler.seal(take.id, None)
    owner.assembler.failed(take.id, "the store refuses its row")
    return closed


def test_an_episode_whose_announcement_is_refused_three_times_is_quarantined_under_the_same_revision():
    owner, log, take = Owner(), Log(), Take()
    unannounced(owner, take, log)
    again = [refuse(owner, take) for _ in range(2)]
    assert {(closed.row["status"], closed.row["revision"]) for closed in again} == {("COMPLETE", 1)}
    owner.flush()
    assert [(e["status"], e["revision"]) for e in owner.store.events] == [("QUARANTINED", 1)]
    assert len(owner.store.rewinds) == 1
    assert owner.store.in_flight() == []


def test_what_was_told_of_an_episode_that_is_quarantined_then_is_taken_back():
    owner, log, take = Owner(), Log(), Take()
    take.values["position"][150:, 0] = np.nan
    unannounced(owner, take, log)
    told, again = (refuse(owner, take).findings for _ in range(2))
    assert told == again
    assert {change.state for change in told} == {"RAISED"}
    owner.flush()
    assert owner.store.event()["status"] == "QUARANTINED"
    last = {change.finding.finding_id: change.state for change in owner.store.findings}
    assert {last[change.finding.finding_id] for change in told} == {"CLEARED"}


def test_what_was_sealed_and_not_announced_is_announced_by_the_next_owner():
    owner, log, take = Owner(), Log(), Take()
    unannounced(owner, take, log)
    owner.make_durable(owner.assembler.take())  # its journal row says what failed, and not that it was closed
    restart(owner, log)
    owner.flush()
    assert [(e["status"], e["revision"]) for e in owner.store.events] == [("COMPLETE", 1)]


def test_later_records_of_a_quarantined_episode_are_dead_letters():
    owner, log, bad, _ = quarantined(Broken)
    owner.feed(log.append(bad.chunk(0, 10), bad.mark(3), bad.start(), bad.end()))
    assert [letter.reason for letter in owner.store.dead_letters] == ["QUARANTINED"] * 4
    assert "13 is no rate" in owner.store.dead_letters[0].text


def test_failures_are_counted_across_restarts():
    owner, log = Owner(), Log()
    take = Take()
    owner.feed(log.append(take.start(), take.chunk(0, 100)))
    for _ in range(LIMITS.attempts):
        assert owner.store.events == []
        owner.assembler.failed(take.id, "the store refuses block 0")
        owner.flush()
        owner.crash()
    assert owner.store.event()["status"] == "QUARANTINED"


def test_a_row_that_the_store_refuses_is_due_again_and_holds_the_watermark():
    owner, log, take = Owner(), Log(), Take()
    owner.feed(log.append(take.start(), take.chunk(0, 100)), flush=False)
    due = owner.assembler.take(everything=True)
    assert [row.block for row in due.blocks] == [0]
    due.blocks.clear()
    owner.make_durable(due)
    owner.assembler.confirm(due)
    owner.assembler.failed(take.id, "refused")
    assert owner.assembler.watermark() == 0
    assert [row.block for row in owner.assembler.take(everything=True).blocks] == [0]
