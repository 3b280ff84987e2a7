"""The table of the state machine in docs/contract.md, walked row by row."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.assembling import LIMITS, PLACE, Log, Owner, Take
from tests.unit.test_assembly_rescore import STRICT

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("| from | what happens | to |") : PAGE.index("**Robots without marks**")]
ROWS = re.findall(r"^\| ([A-Z_]+) \| (.+?) \| ([A-Z_]+) \|$", TABLE, re.M)


class Walk:
    """One episode from its start to a status, and what happens to it then."""

    def __init__(self) -> None:
        self.take, self.log = Take(), Log()
        self.owner = Owner(limits=replace(LIMITS, truncated_ms=120_000))

    def feed(self, *values, after_ms=10):
        self.owner.feed(self.log.append(*values, after_ms=after_ms))

    def wait(self, ms):
        self.owner.pass_ms(ms)
        self.log.now_ms = max(self.log.now_ms, self.owner.assembler.time_ms)

    def command(self, kind, **fields):
        value = {"command_id": "c", "tenant": "hub", "robot_id": "r1", "episode_id": self.take.id, "lane": PLACE.topic,
                 "kind": kind, "by": "p", **fields}  # fmt: skip
        self.owner.command(*Log(now_ms=self.log.now_ms).append(("EpisodeCommand", value)))

    def begin(self):
        self.feed(self.take.start(), self.take.chunk(0, 100))

    def reach(self, status):
        take = self.take
        self.begin()
        if status == "COMPLETE":
            self.feed(take.chunk(100, 300), take.end())
        elif status == "INCOMPLETE":
            self.happen("end mark, frames missing")
        elif status == "TIMED_OUT":
            self.happen("silence")
        elif status == "SUPERSEDED":
            self.happen("the same boot begins a later take")
        elif status == "TRUNCATED":
            self.happen("too long")
        elif status == "QUARANTINED":
            self.happen("three failures")
        elif status == "WITHDRAWN":
            self.happen("a command withdraws it")

    # One line for each row: what the table says, as records.
    def happen(self, what):
        take = self.take
        match what:
            case "end mark, all frames, its own hash":
                self.feed(take.chunk(100, 300), take.end())
            case "end mark, all frames, another hash":
                self.feed(take.chunk(100, 300), take.end(content_hash="0" * 32))
            case "end mark, frames missing":
                self.feed(take.end())
                self.wait(LIMITS.incomplete_ms)
            case "silence":
                self.feed(take.status())
                self.wait(LIMITS.silence_ms)
            case "the same boot begins a later take":
                self.feed(Take(no=2).start())
                self.wait(LIMITS.superseded_ms)
            case "too long":
                self.feed(take.status(recording=take.id))
                self.wait(120_000)
            case "three failures":
                for _ in range(3):
                    self.owner.assembler.failed(take.id, "broken")
                self.owner.flush()
            case "a command withdraws it":
                self.command("WITHDRAW")
            case "a command corrects its labels":
                self.command("CORRECT", labels={"skill": "pour"})
            case "a command has it judged by stricter rules":
                self.command("RESCORE", pins={"rules": STRICT})
            case "a command is a person's verdict":
                self.command("REVIEW", verdict="REJECT")
            case "late frames make it whole":
                self.feed(take.chunk(100, 300))
            case "late frames leave holes":
                self.feed(take.chunk(100, 200))
                self.wait(LIMITS.incomplete_ms)
            case "late frames and the end mark":
                self.feed(take.chunk(100, 300), take.end())
            case "late frames, then silence":
                self.feed(take.chunk(100, 200))
                self.wait(LIMITS.silence_ms)
            case "a late mark":
                self.feed(take.mark(3))
                self.wait(LIMITS.incomplete_ms)
            case "any record":
                self.feed(take.chunk(100, 200), take.mark(3), take.end())
                self.wait(LIMITS.incomplete_ms)
            case _:
                raise LookupError(f"the table says {what!r}: no test knows how that happens")


def unmarked(walk, late):
    take = walk.take
    walk.feed(take.start(marks=False), take.chunk(0, 100), take.chunk(150, 200))
    walk.wait(LIMITS.cut_ms)
    if late:
        walk.feed(take.chunk(100, 150))
        walk.wait(LIMITS.incomplete_ms)


@pytest.mark.parametrize(("before", "what", "after"), ROWS, ids=" ".join)
def test_a_row_of_the_table(before, what, after):
    walk = Walk()
    if after == "UNMARKED":
        unmarked(walk, late=before == "UNMARKED")
    else:
        walk.reach(before)
        if before != "OPEN":
            assert [row.closed["status"] for row in walk.owner.store.episodes.values()] == [before]
        walk.happen(what)
    (row,) = walk.owner.store.episodes.values()
    assert row.closed["status"] == after
    final = before in ("OPEN", "QUARANTINED", "WITHDRAWN")
    assert row.closed["revision"] == (1 if final else 2)


def test_the_table_names_every_status():
    assert {after for _, _, after in ROWS} == {"COMPLETE", "CORRUPT", "INCOMPLETE", "TIMED_OUT", "SUPERSEDED",
                                               "TRUNCATED", "UNMARKED", "QUARANTINED", "WITHDRAWN"}  # fmt: skip
