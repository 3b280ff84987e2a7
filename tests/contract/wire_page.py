"""The parts of docs/wire.md that are made from schemas, golden bytes and checks: no number in them is typed by hand.

``python -m tests.contract.wire_page`` writes them into the page, between ``<!-- begin NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinestream.deploy.wire.checks import RULES
from kinestream.schemas.registry import committed_schema, latest_schema
from tests.contract import wire_reference as reference

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "wire.md"
GOLDEN = ROOT / "schemas" / "golden"
EPISODE = GOLDEN / "wire_episode.jsonl"
RECORDS = ("EpisodeStart", "FrameChunk", "EpisodeMark", "EpisodeEnd", "RobotStatus", "EpisodeReceipt")
#: Bytes of a line of the golden episode.
ROW = 16


def messages() -> list[dict[str, Any]]:
    """The lines of the golden episode."""
    return [json.loads(line) for line in EPISODE.read_text().splitlines()]


def vectors() -> list[dict[str, Any]]:
    """Keys and where they lie."""
    return list(json.loads((GOLDEN / "partition.json").read_text(encoding="utf-8"))["vectors"])


# -- fields -----------------------------------------------------------------------------


def kind(given: Any) -> str:
    """An Avro type in words."""
    if isinstance(given, list):
        return "union " + " / ".join(map(kind, given))
    if not isinstance(given, dict):
        return str(given)
    if given["type"] == "array":
        return f"array of {kind(given['items'])}"
    if given["type"] == "enum":
        return "enum " + " ".join(f"{symbol}={n}" for n, symbol in enumerate(given["symbols"]))
    if given["type"] == "fixed":
        return f"fixed, {given['size']} bytes"
    return "record (" + ", ".join(f"{f['name']} {kind(f['type'])}" for f in given["fields"]) + ")"


def fields(record: str) -> Iterator[str]:
    schema_id, schema = latest_schema(record)
    yield f"**{record}**, id {schema_id}: {schema['doc']}"
    yield ""
    yield "| field | type | meaning | default |"
    yield "|---|---|---|---|"
    for one in schema["fields"]:
        default = f"`{json.dumps(one['default'])}`" if "default" in one else "required"
        yield f"| `{one['name']}` | {kind(one['type'])} | {one['doc']} | {default} |"


# -- golden bytes -------------------------------------------------------------------------


def walk(given: Any, raw: bytes, at: int, name: str) -> Iterator[tuple[bytes, str]]:
    """The parts of a value and what each says; the last of an array is its closing zero."""
    if isinstance(given, dict) and given["type"] == "record":
        for one in given["fields"]:
            for part, told in walk(one["type"], raw, at, f"{name}.{one['name']}" if name else one["name"]):
                at += len(part)
                yield part, told
    elif isinstance(given, dict) and given["type"] == "array":
        yield from walk_array(given["items"], raw, at, name)
    elif isinstance(given, list):
        branch, end = read_long(raw, at)
        told = kind(given[branch])
        yield raw[at:end], f"{name}: branch {branch}, {told}"
        if told != "null":
            yield from walk(given[branch], raw, end, name)
    else:
        value, end = scalar(given, raw, at)
        yield raw[at:end], f"{name} = {value}"


def walk_array(items: Any, raw: bytes, at: int, name: str) -> Iterator[tuple[bytes, str]]:
    count, end = read_long(raw, at)
    if count == 0:
        yield raw[at:end], f"{name}: empty"
        return
    yield raw[at:end], f"{name}: {count} items"
    at = end
    for number in range(count):
        for part, told in walk(items, raw, at, f"{name}[{number}]"):
            at += len(part)
            yield part, told
    yield raw[at : at + 1], f"{name}: end of the array"


def scalar(given: Any, raw: bytes, at: int) -> tuple[str, int]:
    sort = given["type"] if isinstance(given, dict) else given
    if sort == "string":
        size, at = read_long(raw, at)
        return json.dumps(raw[at : at + size].decode()), at + size
    if sort == "fixed":
        return raw[at : at + given["size"]].hex(), at + given["size"]
    if sort == "enum":
        index, end = read_long(raw, at)
        return given["symbols"][index], end
    if sort == "boolean":
        return ("false", "true")[raw[at]], at + 1
    if sort in ("float", "double"):
        size = 4 if sort == "float" else 8
        return repr(struct.unpack_from(f"<{sort[0]}", raw, at)[0]), at + size
    value, end = read_long(raw, at)
    return str(value), end


def read_long(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not raw[at - 1] & 0x80:
            return (value >> 1) ^ -(value & 1), at


def golden(number: int) -> Iterator[str]:
    """A message of the golden episode, every byte told."""
    message = messages()[number]
    raw = bytes.fromhex(message["value_hex"])
    schema_id = int.from_bytes(raw[1:5], "big")
    record = ("", "EpisodeStart", "FrameChunk", "EpisodeMark", "EpisodeEnd", "RobotStatus")[min(schema_id, 5)]
    yield "```text"
    yield f"{record}, {len(raw)} bytes"
    yield from line(raw[:5], f"zero byte, schema id {schema_id}")
    named = latest_schema(record)[1]
    for part, told in walk(named, raw, 5, ""):
        yield from line(part, told)
    yield "```"


def line(part: bytes, told: str) -> Iterator[str]:
    rows = [part[at : at + ROW] for at in range(0, len(part), ROW)]
    for number, row in enumerate(rows):
        yield f"{row.hex(' '):<{3 * ROW}} {told if number == len(rows) - 1 else ''}".rstrip()


# -- hash, layout, partition, checks --------------------------------------------------------


def take() -> tuple[dict[str, int], list[int], dict[str, list[float]], Any]:
    """Of the golden episode: widths, stamps, values, and its start as fastavro reads it."""
    import io

    import fastavro

    start, chunk = (
        fastavro.schemaless_reader(
            io.BytesIO(bytes.fromhex(message["value_hex"])[5:]), committed_schema(f"{record}.v1"), None
        )
        for message, record in zip(messages(), ("EpisodeStart", "FrameChunk"), strict=False)
    )
    stamps = [chunk["t0_ns"] + round(offset * 1e9) for offset in chunk["offset_s"]]
    values = {"position": chunk["position"]} | {extra["name"]: extra["values"] for extra in chunk["extra"]}
    return {c["name"]: c["width"] for c in start["channels"]}, stamps, values, start


def hash_steps() -> Iterator[str]:
    widths, stamps, values, _ = take()
    steps, total = reference.hash_steps(widths, stamps, values)
    yield "```text"
    for name, block, presence, leaf in steps:
        values_of = [t - stamps[0] for t in stamps] if name == "t" else values[name]
        form = "q" if name == "t" else "f"
        yield f"leaf of {name}, block {block}: XXH3-128 of {struct.pack(f'<{len(values_of)}{form}', *values_of).hex()}"
        yield f"  = {leaf.hex()}"
        yield f"presence {presence.hex()}"
    yield ""
    yield "content hash: XXH3-128 of"
    for name, block, presence, leaf in steps:
        head = name.encode() + b"\0" + struct.pack("<II", widths.get(name, 1), block)
        yield f"  {head.hex()} {presence.hex()}"
        yield f"    {leaf.hex()}"
    yield f"  {struct.pack('<Q', len(stamps)).hex()}"
    yield f"  = {total}"
    yield "```"


def layout() -> Iterator[str]:
    start = take()[3]
    raw = reference.layout_bytes(start["joints"], start["channels"])
    yield "```text"
    yield "XXH3-128 of"
    yield from (f"  {raw[at : at + 48].hex()}" for at in range(0, len(raw), 48))
    yield f"first 8 bytes: {reference.layout_id(start['joints'], start['channels']).hex()}"
    yield "```"


def partitions() -> Iterator[str]:
    yield "| key | murmur2 | of 4 | of 8 | of 12 |"
    yield "|---|---|---|---|---|"
    for one in vectors():
        places = " | ".join(str(one["partitions"][n]) for n in ("4", "8", "12"))
        yield f"| `{one['key'] or ' '}` | `{one['murmur2']}` | {places} |"


def checks() -> Iterator[str]:
    yield "| check | what must hold |"
    yield "|---|---|"
    yield from (f"| `{name}` | {rule.title} |" for name, rule in RULES.items() if not rule.advice)
    yield ""
    yield "| advice | what should hold |"
    yield "|---|---|"
    yield from (f"| `{name}` | {rule.title} |" for name, rule in RULES.items() if rule.advice)


def blocks() -> dict[str, str]:
    """Every made part by its name."""
    made = {f"fields {record}": fields(record) for record in RECORDS}
    made |= {f"golden {name}": golden(n) for n, name in enumerate(("start", "chunk", "end", "status"))}
    made |= {"hash": hash_steps(), "layout": layout(), "partitions": partitions()}
    made["checks"] = checks()
    return {name: "\n".join(lines) for name, lines in made.items()}


def filled(page: str) -> str:
    """The page with its made parts as they must be."""
    made = blocks()

    def put(found: re.Match[str]) -> str:
        return f"<!-- begin {found[1]} -->\n{made[found[1]]}\n<!-- end -->"

    return re.sub(r"<!-- begin ([\w ]+) -->\n.*?<!-- end -->", put, page, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
