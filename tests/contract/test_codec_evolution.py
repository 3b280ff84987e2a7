"""Writers of other versions: what Avro can resolve is read, added fields stay on the fast path."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.registry import Registry
from tests.contract import chunks as given_chunks

#: Id of the writer's schema in the registry of these tests.
THEIRS = 4711

Schema = dict[str, Any]


class OneSchema(Registry):
    """A registry that knows the schema of one maker."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self._only = schema

    def schema(self, schema_id: int) -> Schema:
        return copy.deepcopy(self._only) if schema_id == THEIRS else super().schema(schema_id)


def codec(schema: Any) -> Codec:
    return Codec(OneSchema(schema), "motion.acme.frames.v1")


def record() -> dict[str, Any]:
    values = {name: [0.5, -0.0, 2.0, 1.0] for name in given_chunks.JOINT_CHANNELS}
    head = {"episode_id": "e" * 36, "layout_id": b"12345678", "first_seq": 7, "t0_ns": 10**18, "offset_s": [0.0, 0.25]}
    return {**head, **values, "extra": [{"name": "grip", "values": [1.0, 2.0]}]}


def evolved(change: Callable[[dict[str, Any]], None]) -> Schema:
    """Our schema, its fields by name handed to ``change``."""
    schema = copy.deepcopy(given_chunks.SCHEMA)
    change({field["name"]: field for field in schema["fields"]})
    return schema


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_maker_who_adds_reorders_or_drops_fields_stays_on_the_fast_path(data: st.DataObject) -> None:
    writer, values, _ = data.draw(given_chunks.evolutions())
    chunk = given_chunks.quiet(data.draw(given_chunks.chunks()))
    message = given_chunks.written(writer, given_chunks.as_record(chunk) | data.draw(values), THEIRS)
    taker = codec(writer)
    found = taker.decode(message).value
    assert given_chunks.same(found, given_chunks.resolved(writer, message))
    assert taker.slow == 0


@settings(max_examples=60)
@given(st.data())
def test_fields_added_to_an_entry_of_extra_stay_on_the_fast_path(data: st.DataObject) -> None:
    kind, values = data.draw(given_chunks.types)
    place = data.draw(st.integers(0, 2))

    def change(fields: dict[str, Any]) -> None:
        fields["extra"]["type"]["items"]["fields"].insert(place, {"name": "scale", "type": kind})

    writer, taken = evolved(change), record()
    taken["extra"] = [{"name": n, "values": [1.5, 2.5], "scale": data.draw(values)} for n in ("grip", "force")]
    message = given_chunks.written(writer, taken, THEIRS)
    taker = codec(writer)
    assert given_chunks.same(taker.decode(message).value, given_chunks.resolved(writer, message))
    assert taker.slow == 0


def set_type(name: str, kind: Any) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        fields[name]["type"] = kind

    return change


def array(items: str) -> dict[str, str]:
    return {"type": "array", "items": items}


@pytest.mark.parametrize("kind", ["long", "int", {"type": "long", "logicalType": "timestamp-micros"}])
def test_frame_numbers_of_any_integer_type_are_read_fast(kind: Any) -> None:
    writer = evolved(set_type("first_seq", kind))
    taker = codec(writer)
    plain = evolved(set_type("first_seq", kind if isinstance(kind, str) else "long"))
    assert taker.decode(given_chunks.written(plain, record(), THEIRS)).value.first_seq == 7
    assert taker.slow == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("offset_s", array("float")),
        ("offset_s", array("int")),
        ("position", array("int")),
        ("velocity", array("long")),
        ("effort", ["null", array("float")]),
        ("episode_id", "bytes"),
        ("t0_ns", ["null", "long"]),
    ],
)
def test_promoted_types_take_the_general_decoder_and_are_counted(name: str, kind: Any) -> None:
    writer, taken = evolved(set_type(name, kind)), record()
    if isinstance(kind, dict) and kind["items"] in ("int", "long"):
        taken[name] = [0, 1] if name == "offset_s" else [1, 2, 3, 4]
    if kind == "bytes":
        taken[name] = taken[name].encode()
    message = given_chunks.written(writer, taken, THEIRS)
    taker = codec(writer)
    found = taker.decode(message).value
    assert given_chunks.same(found, given_chunks.resolved(writer, message))
    assert (taker.slow, found.first_seq, found.offset_s.dtype) == (1, 7, "float64")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("position", array("double")),
        ("offset_s", array("string")),
        ("episode_id", "long"),
        ("layout_id", {"type": "fixed", "name": "LayoutId", "size": 9}),
        ("layout_id", {"type": "fixed", "name": "OtherId", "size": 8}),
    ],
)
def test_types_that_avro_does_not_promote_are_refused_as_avro_refuses_them(name: str, kind: Any) -> None:
    writer, taken = evolved(set_type(name, kind)), record()
    replaced = {"position": [0.1] * 4, "offset_s": ["a"], "episode_id": 5, "layout_id": b"1" * 9}
    taken[name] = replaced[name] if kind != {"type": "fixed", "name": "OtherId", "size": 8} else b"1" * 8
    message = given_chunks.written(writer, taken, THEIRS)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever kind fastavro raises
        given_chunks.resolved(writer, message)
    taker = codec(writer)
    with pytest.raises(DecodeError) as caught:
        taker.decode(message)
    assert (caught.value.reason, taker.slow) == ("UNDECODABLE", 1)


@pytest.mark.parametrize("name", ["episode_id", "layout_id", "first_seq", "t0_ns", "offset_s"])
def test_a_writer_without_a_required_field_is_refused(name: str) -> None:
    writer = copy.deepcopy(given_chunks.SCHEMA)
    writer["fields"] = [field for field in writer["fields"] if field["name"] != name]
    with pytest.raises(DecodeError, match=name):
        codec(writer).decode(given_chunks.written(writer, record(), THEIRS))


def test_a_type_that_holds_itself_is_skipped() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    writer = copy.deepcopy(given_chunks.SCHEMA)
    writer["fields"].insert(3, {"name": "tree", "type": node})
    message = given_chunks.written(writer, record() | {"tree": {"next": {"next": {"next": None}}}}, THEIRS)
    taker = codec(writer)
    assert (taker.decode(message).value.first_seq, taker.slow) == (7, 0)


def test_the_same_schema_under_another_id_is_read_and_bears_its_own_id() -> None:
    redocumented = {**given_chunks.SCHEMA, "doc": "other words"}
    taker = codec(redocumented)
    ours = taker.decode(given_chunks.written(given_chunks.SCHEMA, record()))
    theirs = taker.decode(given_chunks.written(redocumented, record(), THEIRS))
    assert (ours.schema_id, theirs.schema_id) == (given_chunks.SCHEMA_ID, THEIRS)
    assert given_chunks.same(ours.value, record())
    assert given_chunks.same(theirs.value, record())
