"""Records to bytes and back: Confluent framing, fastavro for every record, numpy for the chunks of the hot path."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np

from kinestream.schemas.catalogue import NAMESPACE
from kinestream.schemas.codec.chunk_decoder import BROKEN, check_stamps, compile_chunk_decoder, put
from kinestream.schemas.codec.chunk_encoder import encode_chunk_body
from kinestream.schemas.codec.run_decoder import HEAD, ID_AT, ID_SIZE
from kinestream.schemas.codec.skip import skipper
from kinestream.schemas.errors import ContractError, DecodeError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import JOINT_CHANNELS
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import Registry, Schema, latest_schema

CHUNK = "FrameChunk"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded message: the record's name and its value (arrays for a chunk, else a dict)."""

    record: str
    value: Any
    schema_id: int


def frame(schema_id: int, body: bytes) -> bytes:
    """Confluent wire format: byte 0, the id as four bytes big-endian, the Avro body."""
    return b"\0" + schema_id.to_bytes(4, "big") + body


class Codec:
    """Encodes and decodes the records of one topic. ``slow`` counts chunks that needed the general decoder."""

    def __init__(self, registry: Registry, topic: str) -> None:
        self._registry = registry
        self._topic = topic
        self._by_id: dict[int, tuple[str, Callable[[bytes], Any]]] = {}
        self._by_fingerprint: dict[str, tuple[str, Callable[[bytes], Any]]] = {}
        self._writers: dict[str, tuple[bytes, Any]] = {}
        self._fingerprints: dict[int, str] = {}
        self._ours: dict[int, bool] = {}
        self.slow = 0

    def encode(self, record: str, value: Mapping[str, Any]) -> bytes:
        """Framed bytes of any record; raises :class:`ContractError` for a value its schema refuses."""
        head, schema = self._writer(record)
        out = io.BytesIO()
        out.write(head)
        try:
            fastavro.schemaless_writer(out, schema, value, strict_allow_default=True)
        except (ValueError, TypeError, OverflowError, KeyError) as problem:
            raise ContractError(f"not a {record}: {problem}") from problem
        return out.getvalue()

    def encode_chunk(self, chunk: FrameChunk) -> bytes:
        """Framed bytes of a chunk, its float32 arrays taken as they lie in memory; raises :class:`ContractError`."""
        return self._writer(CHUNK)[0] + encode_chunk_body(chunk)

    def decode(self, message: bytes) -> Decoded:
        """Raises :class:`DecodeError` with the dead-letter reason for what is no record of this topic."""
        if len(message) < 5 or message[0] != 0:
            raise DecodeError(
                DeadLetterReason.UNDECODABLE, f"{len(message)} bytes that do not begin with 0 and a 4-byte schema id"
            )
        schema_id = int.from_bytes(message[1:5], "big")
        known = self._by_id.get(schema_id)
        if known is None:
            known = self._by_id[schema_id] = self._reader(self._registry.schema(schema_id))
        record, decode = known
        return Decoded(record, decode(message), schema_id)

    def knows(self, schema_id: int) -> bool:
        """Whether records of this schema are decoded without asking the registry."""
        return schema_id in self._by_id

    def may_join(self, head: bytes) -> bool:
        """Whether messages that begin with these ``HEAD`` bytes are chunks for :func:`.run_decoder.decode_run`."""
        if len(head) < HEAD or head[0] != 0 or head[ID_AT] != ID_SIZE:
            return False
        schema_id = int.from_bytes(head[1:ID_AT], "big")
        if schema_id not in self._ours and schema_id in self._by_id:
            self._ours[schema_id] = _canonical(self._registry.schema(schema_id)) == _canonical(latest_schema(CHUNK)[1])
        return self._ours.get(schema_id, False)

    def prepare(self, *records: str) -> None:
        """Ask for what encoding these needs: later nothing waits for the registry."""
        for record in records:
            self._writer(record)

    def fingerprint(self, schema_id: int) -> str:
        """Canonical fingerprint (CRC-64-AVRO, hex) of the schema behind an id."""
        known = self._fingerprints.get(schema_id)
        if known is None:
            known = self._fingerprints[schema_id] = _fingerprint(_canonical(self._registry.schema(schema_id)))
        return known

    def _writer(self, record: str) -> tuple[bytes, Any]:
        if record not in self._writers:
            _, schema = latest_schema(record)
            head = frame(self._registry.id_of(self._topic, record), b"")
            self._writers[record] = (head, fastavro.parse_schema(schema))
        return self._writers[record]

    def _reader(self, schema: Schema) -> tuple[str, Callable[[bytes], Any]]:
        canonical = _canonical(schema)
        key = _fingerprint(canonical)
        if key not in self._by_fingerprint:
            self._by_fingerprint[key] = self._compile(json.loads(canonical))
        return self._by_fingerprint[key]

    def _compile(self, writer: Any) -> tuple[str, Callable[[bytes], Any]]:
        is_record = isinstance(writer, dict) and writer["type"] == "record"
        space, _, record = writer["name"].rpartition(".") if is_record else ("", "", "")
        if space != NAMESPACE:
            raise DecodeError(DeadLetterReason.UNKNOWN_SCHEMA, f"{str(writer)[:80]!r} is no record of {NAMESPACE}")
        try:
            _, reader = latest_schema(record)
        except ContractError as problem:
            raise DecodeError(DeadLetterReason.UNKNOWN_SCHEMA, str(problem)) from problem
        general = _general_decoder(writer, reader)
        if record != CHUNK:
            return record, general
        fast = compile_chunk_decoder(writer)
        return record, fast if fast is not None else self._counted(general)

    def _counted(self, general: Callable[[bytes], Any]) -> Callable[[bytes], FrameChunk]:
        def decode(message: bytes) -> FrameChunk:
            self.slow += 1
            return chunk_from_record(general(message))

        return decode


def chunk_from_record(value: Mapping[str, Any]) -> FrameChunk:
    """A chunk from the dict that a general Avro reader gives; raises :class:`DecodeError`."""
    offset_s = np.array(value["offset_s"], np.float64)
    chunk = FrameChunk(value["episode_id"], value["layout_id"], value["first_seq"], value["t0_ns"], offset_s)
    named = [(name, value[name]) for name in JOINT_CHANNELS]
    named += [(extra["name"], extra["values"]) for extra in value["extra"]]
    try:
        for name, values in named:
            put(chunk, name, np.array(values, np.float32))
    except ValueError as problem:
        raise DecodeError(DeadLetterReason.UNDECODABLE, f"not a FrameChunk: {problem}") from problem
    check_stamps(chunk)
    return chunk


def _general_decoder(writer: Schema, reader: Schema) -> Callable[[bytes], Any]:
    """By fastavro, behind a walk over the message: fastavro trusts every count and nesting a message claims."""
    walk = skipper(writer, {})
    # Of the reader's own schema nothing need be resolved: half the price.
    own = _canonical(writer) == _canonical(reader)
    parsed_reader = fastavro.parse_schema(reader)
    parsed_writer = parsed_reader if own else fastavro.parse_schema(writer)

    def decode(message: bytes) -> Any:
        try:
            end = walk(message, 5)
        except BROKEN as problem:
            raise DecodeError(DeadLetterReason.UNDECODABLE, f"not a {writer['name']}: {problem!r}") from problem
        if end != len(message):
            raise DecodeError(
                DeadLetterReason.UNDECODABLE, f"a {writer['name']} of {end} bytes in a message of {len(message)}"
            )
        try:
            return fastavro.schemaless_reader(io.BytesIO(message[5:]), parsed_writer, parsed_reader)
        except Exception as problem:  # fastavro raises many kinds for values and schemas that do not fit
            raise DecodeError(DeadLetterReason.UNDECODABLE, f"not a {writer['name']}: {problem!r}") from problem

    return decode


def _canonical(schema: Schema) -> str:
    """Parsing canonical form: what decides the bytes, and nothing else (no docs, aliases or logical types)."""
    try:
        return str(fastavro.schema.to_parsing_canonical_form(schema))
    except Exception as problem:  # fastavro raises many kinds for what is no schema
        raise DecodeError(
            DeadLetterReason.UNKNOWN_SCHEMA, f"the writer's schema is no Avro schema: {problem!r}"
        ) from problem


def _fingerprint(canonical: str) -> str:
    return str(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
