"""`kinestream verify`: one flipped bit anywhere in a stored episode is found, and said where."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.deploy.local.process import free_port
from kinestream.schemas.layout import Channel, Layout
from kinestream.schemas.settings import Settings
from kinestream.streams.verify import CHANGING, Report, Verifier
from kinestream.streams.verify_background import BackgroundVerifier
from tests.assembling import Log, Owner, Take
from tests.plugins.store import Store
from tests.stored import put
from tests.unit.test_assembly_commands import command as wanted

#: A changed row above the one that is stored; ``last_offset`` goes with it, so that the version still fits.
BLOCK = "INSERT INTO frame_blocks SELECT * REPLACE(version + 1 AS version, last_offset + 1 AS last_offset, {change})"
EPISODE = "INSERT INTO episodes SELECT * REPLACE(version + 1 AS version, {change})"
SOME = "arrayMap((x, i) -> i = {at} ? {to} : x, {of}, arrayEnumerate({of}))"
FLOAT = SOME.replace("{to}", "reinterpretAsFloat32(bitXor(reinterpretAsUInt32(x), 1))").replace("{at}", "40")
INTEGER = SOME.replace("{to}", "CAST(bitXor(x, 1), '{kind}')").replace("{at}", "40")
LEAF = "unhex('00112233445566778899AABBCCDDEEFF')"


def flip(column: str) -> str:
    return f"{FLOAT.format(of=column)} AS {column}"


#: what is changed in block 1 -> (channel that is named, words that are said)
IN_A_BLOCK = {
    **{flip(name): (name, "leaf") for name in ("position", "velocity", "effort", "command")},
    f"arrayMap(v -> {FLOAT.format(of='v')}, channel_values) AS channel_values": ("hand_position", "leaf"),
    f"{INTEGER.format(of='t_ns', kind='Int64')} AS t_ns": ("t", "leaf"),
    f"{INTEGER.format(of='seq', kind='UInt32')} AS seq": (None, "frame numbers are not ascending"),
    "arrayMap(x -> x + 128, seq) AS seq": (None, "not of this block"),
    f"{SOME.format(of='leaves', at=3, to=LEAF)} AS leaves": ("hand_position", "leaf 0011"),
    "arrayPopBack(velocity) AS velocity": (None, "cannot be read"),
    "frames + 1 AS frames": (None, "holds 128 frames and says 129"),
    "[] AS effort": ("effort", "is not there"),
    "arrayPopBack(t_ns) AS t_ns": ("t", "127 stamps"),
}
#: what is changed in the episode's row -> words that are said
IN_THE_ROW = {
    "concat('0', substring(content_hash, 2)) AS content_hash": "of the stored frames",
    "replaceOne(event, content_hash, reverse(content_hash)) AS event": "the event says content_hash",
    "frames - 1 AS frames": "300 frames are stored, the row says 299",
    "blocks + 1 AS blocks": "3 blocks can be read, the row says 4",
    "revision + 1 AS revision": "the event says revision 1, the row 2",
    "substring(event, 1, 50) AS event": "cannot be read",
    "replaceOne(`end`, content_hash, reverse(content_hash)) AS `end`": "the robot's end mark says",
}


def wide_take(no: int) -> Take:
    """All kinds of channels; 300 frames in 3 blocks."""
    take = Take(no=no, seed=no)
    widths = {"position": 2, "velocity": 2, "effort": 2, "command": 2, "hand_position": 3}
    take.layout = Layout(take.joints, tuple(Channel(name, width, "rad") for name, width in widths.items()))
    rng = np.random.default_rng(no)
    take.values = {name: rng.normal(size=(take.frames, width)).astype(np.float32) for name, width in widths.items()}
    take.values["hand_position"] = np.abs(take.values["hand_position"]) + 2  # sorts before position, and starts with 0
    return take


def store(database: Store, *takes: Take) -> None:
    owner, log = Owner(), Log()
    for take in takes:
        owner.feed(log.append(*take.whole()))
    put(database, owner)


def verifier(database: Store) -> Verifier:
    return Verifier(Settings(clickhouse_database=database.database), database.url)


def reports(database: Store) -> dict[str, Report]:
    one = verifier(database)
    return {report.episode_id: report for report in one.verify(one.all())}


def test_one_changed_bit_anywhere_in_a_stored_episode_is_found_and_named(database: Store) -> None:
    changes = {**IN_A_BLOCK, **IN_THE_ROW}
    takes = {change: wide_take(no) for no, change in enumerate(changes)}
    sound = wide_take(99)
    store(database, sound, *takes.values())
    assert all(report.result == "AGREES" for report in reports(database).values())

    client = database.client()
    for change, take in takes.items():
        head, table = (BLOCK, "frame_blocks") if change in IN_A_BLOCK else (EPISODE, "episodes")
        where = f"FROM {table} WHERE episode_id = '{take.id}'" + (" AND block = 1" if head == BLOCK else "")
        client.command(f"{head.format(change=change)} {where}")
    found = reports(database)
    assert found[sound.id].result == "AGREES"
    for change, (channel, words) in IN_A_BLOCK.items():
        said = found[takes[change].id].mismatches
        assert any((m.block, m.channel) == (1, channel) and words in m.text for m in said), (change, said)
        assert {m.block for m in said} <= {1, 2, None}, "no other block is blamed"
    for change, words in IN_THE_ROW.items():
        said = found[takes[change].id].mismatches
        assert any(m.block is None and words in m.text for m in said), (change, said)


def test_every_bit_of_a_value_matters(database: Store) -> None:
    take = Take(frames=4)
    store(database, take)
    client = database.client()
    rows = client.query_arrow("SELECT * FROM frame_blocks")
    for bit in (0, 22, 23, 30, 31):
        changed = f"reinterpretAsFloat32(bitXor(reinterpretAsUInt32(position[1]), {1 << bit}))"
        change = f"arrayConcat([{changed}], arrayPopFront(position)) AS position"
        client.command(f"{BLOCK.format(change=change)} FROM frame_blocks FINAL")
        (report,) = reports(database).values()
        assert [(m.block, m.channel) for m in report.mismatches] == [(0, "position"), (None, None)]
        client.command("TRUNCATE TABLE frame_blocks")
        client.insert_arrow("frame_blocks", rows)
        assert [one.result for one in reports(database).values()] == ["AGREES"]


def test_frames_and_blocks_that_are_gone_are_counted_and_named(database: Store) -> None:
    take, other = Take(frames=400, no=1), Take(frames=300, no=2)
    owner = Owner()
    owner.feed(Log().append(*take.whole(), *other.whole()))
    del owner.store.blocks[take.id, 1]
    row = owner.store.blocks[other.id, 2]
    keep = np.arange(len(row.seq)) != 9
    row.seq, row.t_ns, row.broker_ms = row.seq[keep], row.t_ns[keep], row.broker_ms[keep]
    row.channels = {name: values[keep] for name, values in row.channels.items()}
    put(database, owner)
    found = reports(database)
    texts = {(m.block, m.text) for m in found[take.id].mismatches if not m.text.startswith("content hash")}
    assert texts == {
        (None, "272 frames are stored, the row says 400"),
        (None, "3 blocks can be read, the row says 4"),
        (1, "is not there (128 frames)"),
    }
    assert (2, None, "lacks 1 frames") in {(m.block, m.channel, m.text) for m in found[other.id].mismatches}


def test_holes_that_the_row_tells_of_agree_and_so_do_no_frames_at_all(database: Store) -> None:
    holed, empty = Take(frames=300, no=1), Take(frames=0, no=2)
    owner, log = Owner(), Log()
    owner.feed(log.append(holed.start(), holed.chunk(0, 20), holed.chunk(60, 130), holed.chunk(256, 300), holed.end()))
    owner.feed(log.append(*empty.whole()))
    owner.pass_ms(20_000)
    put(database, owner)
    found = reports(database)
    assert {one.result for one in found.values()} == {"AGREES"}
    assert (found[holed.id].frames, found[holed.id].blocks) == (134, 3)


def test_an_episode_that_late_frames_are_reaching_is_not_called_different(database: Store) -> None:
    take = Take(frames=40)
    owner, log = Owner(), Log()
    owner.feed(log.append(take.start(), take.chunk(0, 10), take.chunk(20, 30), take.end()))
    owner.pass_ms(20_000)
    put(database, owner)
    log.now_ms = owner.assembler.time_ms
    owner.feed(log.append(take.chunk(10, 15)))
    owner.pass_ms(6_000)
    put(database, owner)
    assert [report.result for report in reports(database).values()] == [CHANGING]


def test_a_sample_is_as_large_as_asked_and_since_leaves_the_older_out(database: Store) -> None:
    day_ms = 24 * 3600 * 1000
    for n in range(4):
        owner = Owner()
        owner.feed(Log(now_ms=1_800_000_000_000 + n * day_ms).append(*Take(frames=5, no=n).whole()))
        put(database, owner)
    one = verifier(database)
    assert [len(one.sample(count)) for count in (1, 3, 9)] == [1, 3, 4]
    given = command(database) | {"COLUMNS": "200"}
    since = json.loads(
        CliRunner().invoke(application(), ["verify", "--since", "2027-01-17", "--json"], env=given).stdout
    )
    assert (since["episodes"], since["agree"], since["frames"]) == (2, 2, 10)


def command(database: Store) -> dict[str, str]:
    return {"KINESTREAM_CLICKHOUSE": database.url, "KINESTREAM_CLICKHOUSE_DATABASE": database.database}


def test_the_exit_code_says_whether_all_agree_something_differs_or_nobody_knows(database: Store) -> None:
    good, bad = Take(frames=200, no=1), Take(frames=200, no=2)
    store(database, good, bad)
    given = command(database)

    def run(*arguments: str, **other: str) -> Any:
        return CliRunner().invoke(application(), ["verify", *arguments], env=given | other)

    assert run().exit_code == 0
    database.client().command(
        f"{BLOCK.format(change=flip('position'))} FROM frame_blocks WHERE episode_id = '{bad.id}' AND block = 0"
    )
    done = run("--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["agree"], document["differ"]) == (1, 1, 1)
    assert {(m["episode_id"], m["block"], m["channel"]) for m in document["mismatches"]} == {
        (bad.id, 0, "position"),
        (bad.id, None, None),
    }
    assert f"{bad.id} block 0 position: leaf " in run().stdout
    assert run("--episode", good.id).exit_code == 0
    assert run("--episode", bad.id).exit_code == 1
    nobody = run("--episode", "nobody")
    assert (nobody.exit_code, "no closed episode 'nobody'" in nobody.stderr) == (2, True)
    away = run(KINESTREAM_CLICKHOUSE=f"http://127.0.0.1:{free_port()}")
    assert (away.exit_code, "no store answers" in away.stderr) == (2, True)


def test_the_background_check_says_what_differs_and_counts(database: Store, caplog: pytest.LogCaptureFixture) -> None:
    take, told = Take(frames=200), list[bool]()
    settings = Settings(clickhouse_database=database.database)
    check = BackgroundVerifier(settings, database.url, lambda: True, told.append)
    assert check.once() is None
    store(database, take)
    assert check.once() is not None
    database.client().command(f"{BLOCK.format(change=flip('velocity'))} FROM frame_blocks WHERE block = 1")
    check.once()
    assert told == [True, False]
    assert f"episode {take.id}, block 1, velocity: leaf " in caplog.text


def test_the_background_check_bears_a_store_that_is_away() -> None:
    told: list[bool] = []
    assert BackgroundVerifier(Settings(), f"http://127.0.0.1:{free_port()}", lambda: True, told.append).once() is None
    assert told == []


def test_what_was_withdrawn_since_it_was_chosen_is_passed_over(database: Store) -> None:
    """Both rows are there until the store merges them: by the older one it still has a hash."""
    owner, log, take = Owner(), Log(), Take()
    owner.feed(log.append(*take.whole()))
    put(database, owner)
    verifier = Verifier(Settings(clickhouse_database=database.database), database.url)
    chosen = list(verifier.all())
    owner.command(*Log(now_ms=log.now_ms).append(wanted(take, "WITHDRAW")))
    put(database, owner)
    assert len(chosen) == 1
    assert list(verifier.verify(chosen)) == []
