"""Rules of the committed schemas, as functions that list what breaks them; Apache Avro judges compatibility."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from kinestream.schemas.catalogue import NAMESPACE

Schema = dict[str, Any]

PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
UPPER_SNAKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def named_types(kind: Any) -> Iterator[Schema]:
    """Every record, enum and fixed that a type defines, itself among them."""
    if isinstance(kind, list):
        for branch in kind:
            yield from named_types(branch)
    elif isinstance(kind, dict):
        if "name" in kind:
            yield kind
        for field in kind.get("fields", ()):
            yield from named_types(field["type"])
        yield from named_types(kind.get("items"))
        yield from named_types(kind.get("values"))


def style_problems(schema: Schema) -> list[str]:
    """What breaks the rules of names, docs and enums."""
    problems = [] if schema.get("namespace") == NAMESPACE else [f"namespace {schema.get('namespace')}"]
    for kind in named_types(schema):
        name = kind["name"]
        if not PASCAL.fullmatch(name):
            problems.append(f"{name} is not PascalCase")
        if not kind.get("doc"):
            problems.append(f"{name} has no doc")
        if kind is not schema and "namespace" in kind:
            problems.append(f"{name} has a namespace of its own")
        problems += _enum_problems(kind) if kind["type"] == "enum" else []
        problems += [problem for field in kind.get("fields", ()) for problem in _field_problems(name, field)]
    return problems


def _enum_problems(kind: Schema) -> list[str]:
    problems = [f"{kind['name']}.{s} is not UPPER_SNAKE" for s in kind["symbols"] if not UPPER_SNAKE.fullmatch(s)]
    if kind.get("default") not in kind["symbols"]:
        problems.append(f"{kind['name']} has no default among its symbols")
    return problems


def _field_problems(record: str, field: Mapping[str, Any]) -> list[str]:
    problems = [] if SNAKE.fullmatch(field["name"]) else [f"{record}.{field['name']} is not snake_case"]
    return problems if field.get("doc") else [*problems, f"{record}.{field['name']} has no doc"]


def version_problems(versions: Sequence[Schema]) -> list[str]:
    """What keeps versions of one record, the oldest first, from being FULL_TRANSITIVE compatible, and fields new
    since version 1 without a default."""
    problems = []
    for i, reader in enumerate(versions, 1):
        for j, writer in enumerate(versions, 1):
            problems += [f"v{i} cannot read v{j}: {why}" for why in _incompatible(reader, writer)]
    first = {field["name"] for field in versions[0]["fields"]}
    for i, version in enumerate(versions[1:], 2):
        new = [field for field in version["fields"] if field["name"] not in first]
        problems += [f"v{i}: {field['name']} has no default" for field in new if "default" not in field]
    return problems


def _incompatible(reader: Schema, writer: Schema) -> list[str]:
    parsed = [avro.schema.parse(json.dumps(schema)) for schema in (reader, writer)]
    found = ReaderWriterCompatibilityChecker().get_compatibility(*parsed)
    if found.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{kind.value}: {text}" for kind, text in zip(found.incompatibilities, found.messages, strict=False)]


def id_problems(ids_json: str, schemas: Sequence[str], committed: Mapping[str, int]) -> list[str]:
    """What is wrong with ids.json: a schema without an id, an id without a schema, one given twice or changed."""
    pairs: list[tuple[str, str]] = json.loads(ids_json, object_pairs_hook=list)
    ids, names = [int(schema_id) for schema_id, _ in pairs], [name for _, name in pairs]
    problems = [f"id {i} is given twice" for i in sorted({i for i in ids if ids.count(i) > 1})]
    problems += [f"{name} has two ids" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"{name} has no id" for name in sorted(set(schemas) - set(names))]
    problems += [f"{name} has an id and no schema" for name in sorted(set(names) - set(schemas))]
    now = {name: schema_id for schema_id, name in zip(ids, names, strict=True)}
    return problems + [f"{n} was {i} and is {now.get(n)}" for n, i in committed.items() if now.get(n) != i]
