"""Chunks and writer's schemas for hypothesis; never decides what is right: fastavro does."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import fastavro
import numpy as np
from hypothesis import strategies as st

from kinestream.schemas.codec import frame
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.registry import latest_schema

JOINT_CHANNELS = ("position", "velocity", "effort", "command")
SCHEMA_ID, SCHEMA = latest_schema("FrameChunk")

longs = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
#: Any 32 bits as a float: NaN with a payload, infinities, subnormals, -0.0.
bit_patterns = st.sampled_from([0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x80000000, 0x00000001]) | st.integers(0, 2**32 - 1)


def floats32(count: int) -> st.SearchStrategy[Any]:
    return st.lists(bit_patterns, min_size=count, max_size=count).map(lambda b: np.array(b, np.uint32).view(np.float32))


@st.composite
def chunks(draw: Any, max_frames: int = 6) -> FrameChunk:
    """0 to ``max_frames`` frames, any subset of channels, further ones, any bits; flat arrays, as decoded ones are."""
    frames = draw(st.integers(0, max_frames))
    joints = draw(st.integers(1, 3))
    t0_ns = draw(st.sampled_from([0, 1_760_000_000_000_000_000, 2**63 - 2**40, -(2**63) + 2**40]) | longs)
    room = min(2**63 - 1 - t0_ns, t0_ns + 2**63) // 1_000_000_000
    offsets = st.floats(-min(room, 10**9), min(room, 10**9), allow_subnormal=True)
    offset_s = np.array(draw(st.lists(offsets, min_size=frames, max_size=frames)), np.float64)
    widths = {name: joints for name in draw(st.sets(st.sampled_from(JOINT_CHANNELS)))} if frames else {}
    if frames:
        names = st.text(min_size=1, max_size=8).filter(lambda name: name not in JOINT_CHANNELS)
        names = names.filter(lambda name: name.isprintable())
        widths |= draw(st.dictionaries(names, st.integers(1, 3), max_size=3))
    channels = {name: draw(floats32(frames * width)) for name, width in widths.items()}
    episode_id = draw(st.uuids().map(str) | texts)
    return FrameChunk(episode_id, draw(st.binary(min_size=8, max_size=8)), draw(longs), t0_ns, offset_s, channels)


def as_record(chunk: FrameChunk) -> dict[str, Any]:
    """The chunk as a general Avro writer takes it."""
    record = {name: chunk.channels.get(name, np.empty(0, np.float32)).tolist() for name in JOINT_CHANNELS}
    extra = [{"name": n, "values": v.tolist()} for n, v in chunk.channels.items() if n not in JOINT_CHANNELS]
    head = {"episode_id": chunk.episode_id, "layout_id": chunk.layout_id, "first_seq": chunk.first_seq}
    return {**head, "t0_ns": chunk.t0_ns, "offset_s": chunk.offset_s.tolist(), **record, "extra": extra}


def written(schema: Any, record: dict[str, Any], schema_id: int = SCHEMA_ID) -> bytes:
    """A framed message by fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return frame(schema_id, out.getvalue())


def resolved(writer: Any, message: bytes) -> dict[str, Any]:
    """What fastavro reads from a message; raises whatever fastavro raises."""
    schemas = (fastavro.parse_schema(copy.deepcopy(schema)) for schema in (writer, SCHEMA))
    value: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(message[5:]), *schemas)
    return value


def bits(values: Any) -> bytes:
    """Bytes of a float array, so that NaN equals NaN and -0.0 does not equal 0.0."""
    return np.ascontiguousarray(values).tobytes()


def same(chunk: FrameChunk, record: dict[str, Any]) -> bool:
    """Whether a decoded chunk holds what fastavro read (float32 payload bits pass through float64 unchanged in C)."""
    named = [(name, record[name]) for name in JOINT_CHANNELS]
    named += [(entry["name"], entry["values"]) for entry in record["extra"]]
    wanted = {name: bits(np.array(values, np.float32)) for name, values in named if values}
    head = (chunk.episode_id, chunk.layout_id, chunk.first_seq, chunk.t0_ns)
    return (
        head == (record["episode_id"], record["layout_id"], record["first_seq"], record["t0_ns"])
        and bits(chunk.offset_s) == bits(np.array(record["offset_s"], np.float64))
        and {name: bits(values) for name, values in chunk.channels.items()} == wanted
    )


def quiet(chunk: FrameChunk) -> FrameChunk:
    """The chunk with signalling NaNs made quiet, as a float64 on the way makes them."""
    with np.errstate(invalid="ignore"):
        channels = {name: values.astype(np.float64).astype(np.float32) for name, values in chunk.channels.items()}
    return FrameChunk(chunk.episode_id, chunk.layout_id, chunk.first_seq, chunk.t0_ns, chunk.offset_s, channels)


# -- writer's schemas -----------------------------------------------------------------------------------------------

_count = itertools.count()


def _primitives() -> st.SearchStrategy[Any]:
    values: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": longs,
        "float": st.floats(width=32, allow_nan=False),
        "double": st.floats(allow_nan=False),
        "bytes": st.binary(max_size=9),
        "string": texts,
    }
    plain = [st.tuples(st.just(name), st.just(value)) for name, value in values.items()]
    dressed = [st.tuples(st.just({"type": name, "x-note": "y"}), st.just(value)) for name, value in values.items()]
    return st.one_of(*plain, *dressed)


@st.composite
def _named(draw: Any) -> tuple[Any, st.SearchStrategy[Any]]:
    name = f"{draw(st.sampled_from(['', 'acme.', 'io.kinestream.motion.']))}Named{next(_count)}"
    if draw(st.booleans()):
        return {"type": "enum", "name": name, "symbols": ["A", "B"], "default": "A"}, st.sampled_from(["A", "B"])
    size = draw(st.integers(0, 5))
    return {"type": "fixed", "name": name, "size": size}, st.binary(min_size=size, max_size=size)


@st.composite
def _record_of(draw: Any, inner: st.SearchStrategy[Any]) -> tuple[Any, st.SearchStrategy[Any]]:
    fields = draw(st.lists(inner, max_size=3))
    name = f"Nested{next(_count)}"
    schema = {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{i}", "type": t} for i, (t, _) in enumerate(fields)],
    }
    return schema, st.fixed_dictionaries({f"f{i}": value for i, (_, value) in enumerate(fields)})


def _optional(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    kind, value = pair
    if kind == "null" or isinstance(kind, list) or (isinstance(kind, dict) and kind["type"] == "null"):
        return pair
    return ["null", kind], st.none() | value


def _compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = inner.map(lambda p: ({"type": "array", "items": p[0]}, st.lists(p[1], max_size=3)))
    maps = inner.map(lambda p: ({"type": "map", "values": p[0]}, st.dictionaries(texts, p[1], max_size=3)))
    return st.one_of(arrays, maps, inner.map(_optional), _record_of(inner))


#: (Avro type, strategy of its values): any type, with names of its own.
types = st.recursive(_primitives() | _named(), _compound, max_leaves=6)


@st.composite
def evolutions(draw: Any) -> tuple[dict[str, Any], st.SearchStrategy[dict[str, Any]], bool]:
    """A writer's schema that Avro lets our reader read: (schema, values of its new fields, keeps every channel)."""
    schema = copy.deepcopy(SCHEMA)
    added: dict[str, st.SearchStrategy[Any]] = {}
    dropped = draw(st.sets(st.sampled_from([*JOINT_CHANNELS, "extra"]), max_size=2))
    fields = [field for field in schema["fields"] if field["name"] not in dropped]
    for kind, values in draw(st.lists(types, max_size=4)):
        name = f"added_{len(added)}"
        added[name] = values
        fields.append({"name": name, "type": kind})
    fields = draw(st.permutations(fields))
    if draw(st.booleans()):  # a type named once and referred to again, before and after the known field that uses it
        _refer(fields)
        added |= {"first_named": st.binary(min_size=8, max_size=8), "again_named": st.none()}
    for field in fields:
        if draw(st.booleans()):
            field["doc"] = "another text"
        if draw(st.booleans()):
            field["aliases"] = [f"alias_{field['name']}"]
    schema["fields"] = fields
    schema["doc"] = draw(texts)
    return schema, st.fixed_dictionaries(added), not dropped


def _refer(fields: list[dict[str, Any]]) -> None:
    layout = next(field for field in fields if field["name"] == "layout_id")
    fields.insert(0, {"name": "first_named", "type": layout["type"]})
    fields.append({"name": "again_named", "type": ["null", "LayoutId", "io.kinestream.motion.FrameChunk"]})
    layout["type"] = "io.kinestream.motion.LayoutId"
