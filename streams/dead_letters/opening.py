"""Opens a dead letter as far as that goes: its fields up to where they break off, and its bytes for people."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import fastavro

from kinestream.schemas.codec.chunk_decoder import BROKEN
from kinestream.schemas.codec.skip import Skip, skipper
from kinestream.schemas.errors import ContractError
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import Registry
from kinestream.streams.events import plain

#: Of a longer list only its beginning is shown.
_LISTED: Final = 8
#: Characters of a text, and bytes of a dump, at most.
_SHOWN: Final = 400
DUMPED: Final = 512

#: What to do about each reason.
ADVICE: Final[Mapping[str, str]] = {
    DeadLetterReason.UNDECODABLE: "mend the sender; a record that was cut off stays as it is. Where the worker was "
    "wrong, mend it and replay",
    DeadLetterReason.UNKNOWN_SCHEMA: "register the writer's schema under this id, then "
    "`kinestream dlq replay --reason UNKNOWN_SCHEMA`",
    DeadLetterReason.INCONSISTENT: "compare what the text says with the episode (`kinestream episode ID`); mend the "
    "sender, it must send the take again",
    DeadLetterReason.NO_START: "find the episode's start: if it is a dead letter too, mend that and replay both, else "
    "the robot must send the take again",
    DeadLetterReason.WRONG_PARTITION: "set the sender's partitioner to murmur2 (librdkafka: "
    "partitioner=murmur2_random), then `kinestream dlq replay --reason WRONG_PARTITION`",
    DeadLetterReason.OVERSIZE: "make the sender cut chunks of 256 kB at most; replayed, the record fails again",
    DeadLetterReason.QUARANTINED: "read the worker's log for what failed; once that is mended, "
    "`kinestream dlq replay --reason QUARANTINED`",
}


def opened(raw: bytes, registry: Registry) -> dict[str, Any]:
    """What can be read of a framed record, ready for JSON: schema_id, record, fields and, where it ends, problem."""
    if len(raw) < 5 or raw[0] != 0:
        return {"problem": f"{len(raw)} bytes that do not begin with 0 and a 4-byte schema id"}
    schema_id = int.from_bytes(raw[1:5], "big")
    found: dict[str, Any] = {"schema_id": schema_id}
    try:
        schema = json.loads(fastavro.schema.to_parsing_canonical_form(registry.schema(schema_id)))
    except ContractError as problem:
        return {**found, "problem": str(problem)}
    except Exception as problem:  # fastavro raises many kinds for what is no schema
        return {**found, "problem": f"the writer's schema is no Avro schema: {problem!r}"}
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return {**found, "problem": f"schema id {schema_id} is no record"}
    return {**found, "record": schema["name"].rpartition(".")[2], **_fields(raw, schema)}


def _fields(raw: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Skip] = {}
    types: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    pos = 5
    for one in schema["fields"]:
        try:
            end = skipper(one["type"], named)(raw, pos)
            if end > len(raw):
                raise IndexError(f"needs {end - pos} bytes")
            kind = fastavro.parse_schema(one["type"], named_schemas=types)
            value = fastavro.schemaless_reader(io.BytesIO(raw[pos:end]), kind, None)
        except (*BROKEN, KeyError, TypeError, EOFError) as problem:
            said = f"field {one['name']} at byte {pos} of {len(raw)} cannot be read: {problem}"
            return {"fields": fields, "problem": said}
        fields[one["name"]] = plain(_short(value))
        pos = end
    behind = f"{len(raw) - pos} bytes stand behind the record" if pos < len(raw) else ""
    return {"fields": fields, **({"problem": behind} if behind else {})}


def _short(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:_SHOWN].hex()
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if isinstance(value, dict):
        return {name: _short(inner) for name, inner in value.items()}
    if isinstance(value, list):
        if len(value) <= _LISTED:
            return [_short(inner) for inner in value]
        return {"length": len(value), "first": [_short(inner) for inner in value[:_LISTED]]}
    return value


def dump(raw: bytes, most: int = DUMPED) -> Iterator[str]:
    """Lines of a hex dump: offset, 16 bytes, and what of them is ASCII."""
    for at in range(0, min(len(raw), most), 16):
        row = raw[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:08x}  {row.hex(' '):<47}  {text}"
    if len(raw) > most:
        yield f"... {len(raw) - most} bytes more"
