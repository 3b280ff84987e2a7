"""Records to bytes and back: Confluent framing, fastavro for every record, numpy for the chunks of the hot path."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np

from kinestream.schemas.catalogue import NAMESPACE
from kinestream.schemas.codec.chunk_decoder import compile_chunk_decoder
from kinestream.schemas.codec.chunk_encoder import encode_chunk_body
from kinestream.schemas.errors import ContractError, DecodeError
from kinestream.schemas.frames import FrameChunk
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
        self.slow = 0

    def encode(self, record: str, value: Mapping[str, Any]) -> bytes:
        """Framed bytes of any record; raises :class:`ContractError` for a value its schema refuses."""
        head, schema = self._writer(record)
        out = io.BytesIO()
        out.write(head)
        try:
            fastavro.schemaless_writer(out, schema, value, strict=True)
        except (ValueError, TypeError, OverflowError, KeyError) as problem:
            raise ContractError(f"not a {record}: {problem}") from problem
        return out.getvalue()

    def encode_chunk(self, chunk: FrameChunk) -> bytes:
        """Framed bytes of a chunk, its float32 arrays taken as they lie in memory."""
        return self._writer(CHUNK)[0] + encode_chunk_body(chunk)

    def decode(self, message: bytes) -> Decoded:
        """Raises :class:`DecodeError` with the dead-letter reason for what is no record of this topic."""
        if len(message) < 5 or message[0] != 0:
            raise DecodeError("UNDECODABLE", f"{len(message)} bytes that do not begin with 0 and a 4-byte schema id")
        schema_id = int.from_bytes(message[1:5], "big")
        known = self._by_id.get(schema_id)
        if known is None:
            known = self._by_id[schema_id] = self._reader(self._registry.schema(schema_id))
        record, decode = known
        return Decoded(record, decode(message), schema_id)

    def fingerprint(self, schema_id: int) -> str:
        """Canonical fingerprint (CRC-64-AVRO, hex) of the schema behind an id."""
        return _fingerprint(self._registry.schema(schema_id))

    def _writer(self, record: str) -> tuple[bytes, Any]:
        if record not in self._writers:
            _, schema = latest_schema(record)
            head = frame(self._registry.id_of(self._topic, record), b"")
            self._writers[record] = (head, fastavro.parse_schema(schema))
        return self._writers[record]

    def _reader(self, writer: Schema) -> tuple[str, Callable[[bytes], Any]]:
        key = _fingerprint(writer)
        if key not in self._by_fingerprint:
            self._by_fingerprint[key] = self._compile(writer)
        return self._by_fingerprint[key]

    def _compile(self, writer: Schema) -> tuple[str, Callable[[bytes], Any]]:
        space, _, record = str(writer.get("name", "")).rpartition(".")
        if (space or writer.get("namespace")) != NAMESPACE:
            raise DecodeError("UNKNOWN_SCHEMA", f"{writer.get('name')!r} is no record of {NAMESPACE}")
        try:
            _, reader = latest_schema(record)
        except ContractError as problem:
            raise DecodeError("UNKNOWN_SCHEMA", str(problem)) from problem
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
    """A chunk from the dict that a general Avro reader gives."""
    named = [(name, value[name]) for name in ("position", "velocity", "effort", "command")]
    named += [(extra["name"], extra["values"]) for extra in value["extra"]]
    channels = {name: np.array(values, np.float32) for name, values in named if values}
    offset_s = np.array(value["offset_s"], np.float64)
    return FrameChunk(value["episode_id"], value["layout_id"], value["first_seq"], value["t0_ns"], offset_s, channels)


def _general_decoder(writer: Schema, reader: Schema) -> Callable[[bytes], Any]:
    parsed_writer, parsed_reader = fastavro.parse_schema(writer), fastavro.parse_schema(reader)

    def decode(message: bytes) -> Any:
        body = io.BytesIO(message)
        body.seek(5)
        try:
            value = fastavro.schemaless_reader(body, parsed_writer, parsed_reader)
        except Exception as problem:  # fastavro raises many kinds for broken bytes
            raise DecodeError("UNDECODABLE", f"not a {writer['name']}: {problem!r}") from problem
        if body.tell() != len(message):
            raise DecodeError("UNDECODABLE", f"{len(message) - body.tell()} bytes follow the {writer['name']}")
        return value

    return decode


def _fingerprint(schema: Schema) -> str:
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return str(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
