"""Episodes assembled in memory, put into a real store as a worker puts them there."""

from __future__ import annotations

from typing import Any

from kinestream.schemas.settings import Settings
from kinestream.streams.archive import Archive
from kinestream.streams.assembly.values import JournalRow
from kinestream.streams.store import tables
from kinestream.streams.store.store import Store as Writer
from tests.assembling import PLACE, Owner
from tests.plugins.store import Store


def put(database: Store, owner: Owner, generation: int = 1) -> None:
    """Every row of the owner's store."""
    memory = owner.store
    writer = Writer(Settings(clickhouse_database=database.database), database.url)
    journal = list(memory.journal.values())
    if memory.blocks:
        writer.insert("frame_blocks", tables.frame_blocks(list(memory.blocks.values())))
    if memory.findings:
        writer.insert("findings", tables.findings(memory.findings))
    writer.insert("journal", tables.journal(journal, [PLACE] * len(journal)))
    writer.insert("episodes", tables.episodes([_row(row, generation) for row in memory.episodes.values()]))


def archive(database: Store) -> Archive:
    return Archive(Settings(clickhouse_database=database.database), database.url)


def _row(row: JournalRow, generation: int) -> dict[str, Any]:
    framed = {"event": row.event, "start": row.start, "marks": list(row.marks), "end": row.end}
    return {**row.closed, "generation": generation, **framed}
