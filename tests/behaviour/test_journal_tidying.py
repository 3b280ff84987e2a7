"""The journal forgets what is announced and old, so that recovery does not read a growing history; nothing else."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import date

import pytest

from kinestream.deploy.local import process
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.journal import tombstone
from kinestream.streams.assembly.values import JournalRow, Place
from kinestream.streams.store import tables
from kinestream.streams.store.store import Store, ranked
from tests.assembling import CODEC, Log, Owner, Take
from tests.plugins.store import Store as Running

DAYS = 2
TODAY = (date.today() - date(1970, 1, 1)).days
OLD = TODAY - 30


class Journal:
    """One partition's rows, written by owners of rising terms."""

    def __init__(self, running: Running) -> None:
        settings = Settings(clickhouse=running.url, clickhouse_database=running.database)
        self.store = Store(settings, running.url)
        self.place = Place(f"c-{uuid.uuid4()}", "motion.hub.frames.v1", 3)
        self._client = running.client()

    def write(self, *rows: JournalRow, term: int = 1) -> None:
        self.store.insert("journal", tables.journal([ranked(row, term) for row in rows], [self.place] * len(rows)))

    def rows(self) -> set[str]:
        sql = "SELECT DISTINCT episode_id FROM journal WHERE cluster_id = {c:String}"
        return {row[0] for row in self._client.query(sql, parameters={"c": self.place.cluster_id}).result_rows}

    def in_flight(self) -> set[str]:
        open_, outbox = self.store.in_flight(self.place, CODEC)
        return {one.episode_id for one in open_} | {row.episode_id for row, _ in outbox}

    def forget(self, least: int = 1) -> int:
        return self.store.forget(self.place, DAYS, least)


@pytest.fixture
def journal(database: Running) -> Journal:
    return Journal(database)


def open_row(episode_id: str, version: int, day: int) -> JournalRow:
    owner, log, take = Owner(), Log(), Take()
    owner.feed(log.append(take.start(), take.chunk(0, 10)))
    (row,) = owner.store.journal.values()
    return replace(row, episode_id=episode_id, version=version, stored_day=day)


def test_what_is_announced_and_old_goes_and_all_else_stays(journal: Journal) -> None:
    done = [f"done-{k}" for k in range(40)]
    journal.write(*(open_row(one, k + 1, OLD) for k, one in enumerate(done[:3])), open_row("a stream", 50, OLD))
    journal.write(*(tombstone(one, OLD, 100 + k) for k, one in enumerate(done)))
    journal.write(tombstone("of today", TODAY, 200), tombstone("the newest", OLD, 300), term=2)
    term = journal.store.term(journal.place)
    assert journal.in_flight() == {"a stream"}
    assert journal.forget() == 43
    kept = {"a stream", "of today", "the newest"}
    assert process.wait_until(lambda: journal.rows() == kept, 20), journal.rows()
    assert journal.in_flight() == {"a stream"}
    assert journal.store.term(journal.place) == term, "or a former owner's rows would count again"


def test_few_rows_are_not_worth_it(journal: Journal) -> None:
    journal.write(*(tombstone(f"done-{k}", OLD, k + 1) for k in range(5)))
    assert journal.forget(least=6) == 0
    assert len(journal.rows()) == 5


def test_an_episode_opened_again_meanwhile_stays(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question what is in flight and the deletion."""
    journal.write(*(tombstone(f"done-{k}", OLD, k + 1) for k in range(5)))
    ask = journal.store.query

    def then_it_is_late(sql: str, parameters: object = None) -> object:
        answer = ask(sql, parameters)
        if "max(version)" not in sql:
            journal.write(open_row("done-2", 90, OLD))
        return answer

    monkeypatch.setattr(journal.store, "query", then_it_is_late)
    journal.forget()
    monkeypatch.undo()
    assert process.wait_until(lambda: journal.rows() == {"done-2", "done-4"}, 20), journal.rows()
    assert journal.in_flight() == {"done-2"}
