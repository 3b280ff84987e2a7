"""How effects become durable: in the order of docs/contract.md, repeated until the store and the broker have them.

Every step asks first whether the partition still is ours: what is written for one that was lost meanwhile is dropped.
What fails for one episode alone is told to its assembler, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import FencedError, RefusedError
from kinestream.streams.announce import Announcer
from kinestream.streams.assembly.partition import Due
from kinestream.streams.assembly.takes import task_of
from kinestream.streams.assembly.values import BlockRow, Closed, FindingChange, JournalRow, JsonDict, TakeRow
from kinestream.streams.assigned import Assigned
from kinestream.streams.dead_letters.sending import Bag
from kinestream.streams.inserting import Inserts, Owned, Subject
from kinestream.streams.messages import Message
from kinestream.streams.quality import Print, Shelf, Twins, twins_of
from kinestream.streams.retrying import Retry, line
from kinestream.streams.store import tables
from kinestream.streams.store.store import Store, ranked
from kinestream.streams.task_statistics import Closing

log = logging.getLogger("kinestream.worker")

#: What a robot said last: broker time in ms, and the fields of its RobotStatus.
Word: TypeAlias = tuple[int, Mapping[str, Any]]
#: Blocks of closing episodes that are read together: some 6 MB.
_BLOCKS: Final = 128


class Flush:
    """One round: first what is due everywhere, then the episodes that close."""

    def __init__(self, store: Store, announcer: Announcer, retry: Retry) -> None:
        self._store, self._announcer, self._retry = store, announcer, retry
        self._inserts = Inserts(store, retry)
        #: what each closing episode repeats, None = it was not looked for; and the takes of this round
        self._twins: dict[Subject, Twins | None] = {}
        self._shelf = Shelf()
        #: whose final findings and takes are stored in this round
        self._told: set[Subject] = set()
        #: the newest status of each robot, (broker time in ms, its fields), where it is time to store them
        self.words: Sequence[Owned[Word]] = ()
        #: takes that were stored as part of their task
        self.tasks: list[Closing] = []
        #: why nothing more is done for an episode in this round
        self.failed: dict[Subject, str] = self._inserts.refused

    async def durable(self, due: Sequence[Owned[Due]]) -> None:
        """Dead letters, journal, blocks, live findings and robots, all at once; then each ``due`` is confirmed.

        Meanwhile episodes that close, and need no rows for it, are sealed, and what is found in them is told.

        Rows of episodes that failed are no part of it: they stay due, and hold the watermark back.
        """
        clean = _clean([(one, episode_id) for one, d in due for episode_id in d.closing])
        last, others = _split(clean, [(one, change) for one, d in due for change in d.findings])
        await asyncio.gather(self._bury(due), self._rows(due), self._findings(others), self._tell_clean(clean, last))
        for one, d in due:
            if not one.ownership.lost:
                self._confirm(one, d)

    def _confirm(self, one: Assigned, due: Due) -> None:
        bad = {episode_id: text for (whose, episode_id), text in self.failed.items() if whose is one}
        if bad:
            due.blocks = [row for row in due.blocks if row.episode_id not in bad]
            due.closing = [episode_id for episode_id in due.closing if episode_id not in bad]
        one.assembler.confirm(due)
        for episode_id, text in bad.items():
            one.assembler.failed(episode_id, text)

    async def _bury(self, due: Sequence[Owned[Due]]) -> None:
        letters = [(one.place, letter) for one, d in due for letter in d.dead_letters]
        if letters:
            await self._retry.call("deliver dead letters", self._announcer.letters.deliver, Bag(letters))

    async def _rows(self, due: Sequence[Owned[Due]]) -> None:
        """The journal of what was closed before comes first: else late frames are stored that no revision tells of."""
        journal = [(one, row) for one, d in due for row in d.journal]
        await self._journal([(one, row) for one, row in journal if row.reopened])
        blocks = [(one, row) for one, d in due for row in d.blocks]
        robots = Inserts(self._store, self._retry)  # of no episode: what is refused here is gone, the next comes soon
        await asyncio.gather(
            self._journal([(one, row) for one, row in journal if not row.reopened]),
            self._inserts.insert("frame_blocks", self._blocks_table, blocks, lambda row: row.episode_id),
            robots.insert("robot_live", tables.robot_live, self.words, lambda word: str(word[1]["robot_id"])),
        )

    async def _tell_clean(self, clean: Sequence[Owned[str]], last: Sequence[Owned[FindingChange]]) -> None:
        """Their ``last`` provisional findings before the final ones, so that listeners end with these."""
        await asyncio.gather(self._look(clean), self._findings(last))
        sealed = [self._seal(one, episode_id, None) for one, episode_id in clean]
        await self._tell([(one, closed) for one, closed in sealed if closed is not None and not closed.rewind])

    async def _tell(self, sealed: Sequence[Owned[Closed]]) -> None:
        """Final findings, and what others find an episode by: before its journal says CLOSED, else a crash loses it."""
        fresh = [(one, closed) for one, closed in sealed if (one, closed.episode_id) not in self._told]
        await asyncio.gather(
            self._findings([(one, change) for one, closed in fresh for change in closed.findings]),
            self._takes([(one, row) for one, closed in fresh for row in closed.takes]),
        )
        self._told |= {(one, closed.episode_id) for one, closed in fresh}

    async def close(self, closing: Sequence[Owned[str]]) -> None:
        """Seal, store and announce; an episode that is dirty is judged again from its stored blocks."""
        sealed = await self._seal_all(closing)
        await self._quarantine([(one, closed) for one, closed in sealed if closed.rewind])
        await self._tell(sealed)
        await self._announce([(one, row) for one, closed in sealed if (row := self._outbox(one, closed)) is not None])
        lost_causes = {(one, closed.episode_id) for one, closed in sealed if closed.rewind}
        for one, episode_id in closing:
            if one.ownership.lost:
                continue
            if (one, episode_id) not in self.failed:
                one.assembler.announced(episode_id)
            elif (one, episode_id) in lost_causes:
                log.critical("episode %s is quarantined and cannot even be stored as that", episode_id)
                one.assembler.announced(episode_id)
            else:
                one.assembler.failed(episode_id, self.failed[one, episode_id])

    async def _seal_all(self, closing: Sequence[Owned[str]]) -> list[Owned[Closed]]:
        """Those that need no rows first; then the dirty ones, whose rows come while those before are judged."""
        dirty = [(one, i) for one, i in closing if one.assembler.episodes[i].dirty]
        clean = _clean(closing)
        await self._look(clean)
        sealed = [self._seal(one, i, None) for one, i in clean]
        reading = None
        for some in [*_batches(dirty), []]:
            following = asyncio.create_task(self._read(some))
            if reading is not None:
                batch, rows = await reading
                await self._look(batch, rows)
                for one, episode_id in batch:
                    sealed.append(self._seal(one, episode_id, rows.get(episode_id, [])))
                    await asyncio.sleep(0)  # each takes its milliseconds: records of other episodes come between
            reading = following
        return [(one, closed) for one, closed in sealed if closed is not None]

    async def _look(self, closing: Sequence[Owned[str]], rows: Mapping[str, Sequence[BlockRow]] | None = None) -> None:
        """Ask once, for all not looked at yet, which stored takes they may repeat; then compare, earliest first."""
        takes: dict[Subject, Print] = {}
        for one, episode_id in closing:
            if not one.ownership.lost and (one, episode_id) not in self._twins:
                take = _print(one, episode_id, (rows or {}).get(episode_id, []))
                if take is not None:
                    takes[one, episode_id] = take
        stored = await self._retry.call("look for twins", self._store.alike, list(takes.values())) if takes else []
        for (one, episode_id), take in sorted(takes.items(), key=lambda item: item[1].order):
            rules = one.assembler.episodes[episode_id].frontier.judge.rules
            twins = self._twins[one, episode_id] = twins_of(take, [*stored, *self._shelf.like(take)], rules)
            if not twins.covered:
                self._shelf.add(take)

    async def _read(self, batch: Sequence[Owned[str]]) -> tuple[Sequence[Owned[str]], dict[str, list[BlockRow]]]:
        episodes = [one.assembler.episodes[i] for one, i in batch if not one.ownership.lost]
        keys = [(e.stored_day, e.robot_id, e.id) for e in episodes]
        rows: dict[str, list[BlockRow]] = {}
        for row in await self._retry.call("read blocks", self._store.blocks, keys) if keys else []:
            rows.setdefault(row.episode_id, []).append(row)
        return batch, rows

    def _seal(self, one: Assigned, episode_id: str, rows: Sequence[BlockRow] | None) -> tuple[Assigned, Closed | None]:
        if one.ownership.lost:
            return one, None
        try:
            return one, one.assembler.seal(episode_id, rows, self._twins.get((one, episode_id)))
        except Exception as problem:  # a metric that fails on this episode; its neighbours go on
            log.exception("cannot close episode %s", episode_id)
            self.failed[one, episode_id] = repr(problem)
            return one, None

    async def repeat(self, one: Assigned, outbox: Sequence[JournalRow]) -> None:
        """After a crash: everything beside and behind journal CLOSED again, byte for byte, then the tombstones."""
        await self._store_rows([(one, row) for row in outbox])
        await self._publish_all([(one, row) for row in outbox])
        done = [row for row in outbox if (one, row.episode_id) not in self.failed]
        await self._journal([(one, one.assembler.tombstone(row.episode_id, row.stored_day)) for row in done])

    # -- steps ------------------------------------------------------------------

    async def _quarantine(self, sealed: Sequence[Owned[Closed]]) -> None:
        """The raw records of what is given up go to the dead letters before anything else."""
        for one, closed in sealed:
            assert closed.rewind is not None
            codec: Codec = one.decoder.codec
            start = codec.decode(closed.journal.start).value["episode_id"]  # a stream's chunks bear its own name
            ids, count, (first, last) = frozenset((closed.episode_id, start)), 0, closed.rewind
            text = f"episode {closed.episode_id} is quarantined: {closed.journal.facts['error']}"
            while first <= last:
                given = (one.place, (first, last), ids, codec, text)
                letters, first = await self._retry.call("read the log again", self._announcer.source.letters, *given)
                bag = Bag([(one.place, letter) for letter in letters])
                await self._retry.call("deliver dead letters", self._announcer.letters.deliver, bag)
                count += len(letters)
            log.error("%s; %d records are dead letters now", text, count)

    def _outbox(self, one: Assigned, closed: Closed) -> JournalRow | None:
        try:
            return replace(closed.journal, phase="CLOSED", closed=closed.row, event=self._announcer.event_bytes(closed))
        except Exception as problem:  # a value no event can hold is this episode's alone
            log.exception("cannot announce episode %s", closed.episode_id)
            self.failed[one, closed.episode_id] = repr(problem)
            return None

    async def _announce(self, outbox: Sequence[Owned[JournalRow]]) -> None:
        """Journal CLOSED and episode rows together, then event and receipt of each, in one transaction a partition.

        An episode row that is there without its journal CLOSED is of an episode whose journal says OPEN: whoever
        loads that closes it again, with the same row.
        """
        await asyncio.gather(self._journal(outbox), self._store_rows(outbox))
        await self._publish_all(outbox)

    async def _store_rows(self, outbox: Sequence[Owned[JournalRow]]) -> None:
        await self._inserts.insert("episodes", _episodes_table, [(one, (one, row)) for one, row in outbox], _id_of)

    async def _publish_all(self, outbox: Sequence[Owned[JournalRow]]) -> None:
        voices: dict[Assigned, list[JournalRow]] = {}
        for one, row in outbox:
            if (one, row.episode_id) not in self.failed:
                voices.setdefault(one, []).append(row)
        await asyncio.gather(*(self._publish(one, some) for one, some in voices.items()))

    async def _publish(self, one: Assigned, rows: Sequence[JournalRow]) -> None:
        """In one transaction, so that readers see all or nothing of it, and nothing of an owner that was replaced."""
        messages = [self._announcer.episode(row.closed, row.event) for row in rows]
        messages += [self._announcer.receipt(row.closed) for row in rows]
        try:
            await self._say(one, messages)
        except RefusedError as problem:
            if len(rows) == 1:
                self.failed[one, rows[0].episode_id] = line(problem)
            else:
                for row in rows:
                    await self._publish(one, [row])

    async def _say(self, one: Assigned, messages: Sequence[Message]) -> None:
        def attempt() -> None:
            if one.ownership.holds():
                one.outlet.publish(messages)

        while True:
            try:
                return await self._retry.call("announce episodes", attempt)
            except FencedError as problem:
                if not await self._reopened(one, problem):
                    return

    async def _reopened(self, one: Assigned, problem: FencedError) -> bool:
        """Fenced means replaced, but for a transaction that was open too long: only the group's next word can tell."""
        log.warning("%s-%d: %s", one.place.topic, one.place.partition, line(problem))
        fenced_s = time.monotonic()
        if not await self._retry.call("confirm membership", one.ownership.confirmed_after, fenced_s):
            return False
        one.outlet = self._announcer.outlet(one.place)
        await self._retry.call("open the outlet", one.outlet.open)
        return True

    async def _journal(self, rows: Sequence[Owned[JournalRow]]) -> None:
        await self._inserts.insert("journal", _journal_table, [(one, (one, row)) for one, row in rows], _id_of)

    async def _findings(self, changes: Sequence[Owned[FindingChange]]) -> None:
        if changes:
            messages = [self._announcer.finding(change, one.place) for one, change in changes]
            await asyncio.gather(
                self._inserts.insert("findings", tables.findings, changes, lambda c: str(c.episode["episode_id"])),
                self._retry.call("announce findings", self._announcer.publish, messages),
            )

    async def _takes(self, rows: Sequence[Owned[TakeRow]]) -> None:
        owned = [(one, (one.generation, row)) for one, row in rows]
        # An episode is closed though none can find it: what is refused here is told, and gone.
        await Inserts(self._store, self._retry).insert("takes", tables.takes, owned, lambda row: str(row[1].take))
        for one, row in rows:
            episode = one.assembler.episodes.get(row.episode_id)
            if row.kind == "task" and not row.gone and episode is not None and (task := task_of(episode, {})):
                self.tasks.append(Closing(task, episode.frontier.judge.context))

    def _blocks_table(self, rows: Sequence[BlockRow]) -> Any:
        return tables.frame_blocks(rows, self._store.scratch)  # rounds never overlap: one table at a time


def weight(one: Assigned, episode_id: str) -> int:
    """Blocks that closing an episode reads from the store."""
    episode = one.assembler.episodes[episode_id]
    return len(episode.all_blocks()) if episode.dirty else 0


def _clean(closing: Sequence[Owned[str]]) -> list[Owned[str]]:
    """Those that need no rows."""
    return [(one, i) for one, i in closing if i in one.assembler.episodes and not one.assembler.episodes[i].dirty]


def _split(
    closing: Sequence[Owned[str]], changes: Sequence[Owned[FindingChange]]
) -> tuple[list[Owned[FindingChange]], list[Owned[FindingChange]]]:
    """Those of ``closing`` episodes, and the others."""
    ends, last, others = set(closing), list[Owned[FindingChange]](), list[Owned[FindingChange]]()
    for one, change in changes:
        (last if (one, str(change.episode["episode_id"])) in ends else others).append((one, change))
    return last, others


def _print(one: Assigned, episode_id: str, rows: Sequence[BlockRow]) -> Print | None:
    try:
        return one.assembler.look(episode_id, rows)
    except Exception:  # sealing it fails as well, and says so
        log.debug("cannot look at episode %s", episode_id, exc_info=True)
        return None


def _batches(closing: Sequence[Owned[str]]) -> list[list[Owned[str]]]:
    """Of at most ``_BLOCKS`` blocks each, or of one episode."""
    batches: list[list[Owned[str]]] = []
    room = 0
    for one, episode_id in closing:
        room -= weight(one, episode_id)
        if room < 0:
            batches.append([])
            room = _BLOCKS - weight(one, episode_id)
        batches[-1].append((one, episode_id))
    return batches


def _id_of(row: Owned[JournalRow]) -> str:
    return row[1].episode_id


def _journal_table(rows: Sequence[Owned[JournalRow]]) -> Any:
    return tables.journal([ranked(row, one.term) for one, row in rows], [one.place for one, _ in rows])


def _episodes_table(rows: Sequence[Owned[JournalRow]]) -> Any:
    return tables.episodes([_episode_row(row, one.generation) for one, row in rows])


def _episode_row(row: JournalRow, generation: int) -> JsonDict:
    return {
        **row.closed,
        "generation": generation,
        "event": row.event,
        "start": row.start,
        "marks": list(row.marks),
        "end": row.end,
    }
