"""Schema ids: from a Confluent-compatible registry, or from the committed schemas; reads only."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from functools import cache
from importlib import resources
from typing import Any

from kinestream.schemas.catalogue import subject_name
from kinestream.schemas.errors import ContractError, DecodeError
from kinestream.schemas.reasons import DeadLetterReason

Schema = dict[str, Any]

#: Ids remembered as unknown, at most.
_MOST_UNKNOWN = 1000


class RegistryUnavailableError(ContractError):
    """The registry does not answer: a pause, never a bad message."""


@cache
def committed_ids() -> dict[int, str]:
    """Id -> ``<Record>.v<n>`` of every committed schema."""
    text = resources.files("kinestream.schemas").joinpath("avro", "ids.json").read_text()
    return {int(schema_id): name for schema_id, name in json.loads(text).items()}


@cache
def committed_schema(name: str) -> Schema:
    """The committed schema ``<Record>.v<n>``, as parsed JSON."""
    text = resources.files("kinestream.schemas").joinpath("avro", f"{name}.avsc").read_text()
    schema: Schema = json.loads(text)
    return schema


@cache
def latest_schema(record: str) -> tuple[int, Schema]:
    """Id and schema of the newest committed version of a record."""
    versions = [(int(n.rpartition(".v")[2]), i, n) for i, n in committed_ids().items() if n.startswith(f"{record}.v")]
    if not versions:
        raise ContractError(f"record {record!r} is not ours; the records are {', '.join(committed_ids().values())}")
    _, schema_id, name = max(versions)
    return schema_id, committed_schema(name)


class Registry:
    """Ids of our schemas, and schemas of any id; ``url=""`` uses the committed ids and asks nobody."""

    def __init__(self, url: str = "", timeout_s: float = 5.0, unknown_s: float = 2.0) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        #: seconds an id the registry did not know stays unknown: it may be registered later
        self._unknown_s = unknown_s
        self._schemas: dict[int, Schema] = {}
        self._ids: dict[tuple[str, str], int] = {}
        #: ids the registry did not know, and when (monotonic) it is asked again
        self._unknown: dict[int, float] = {}
        self._lock = threading.Lock()

    def id_of(self, topic: str, record: str) -> int:
        """Id under which the newest committed version of ``record`` is written to ``topic``."""
        return self.id_for(topic, latest_schema(record)[0])

    def id_for(self, topic: str, committed_id: int) -> int:
        """Id under which what was encoded with a committed id is written to ``topic``: without a registry, the same."""
        if not self._url:
            return committed_id
        name = committed_ids()[committed_id]
        key = (topic, name)
        with self._lock:
            if key not in self._ids:
                schema = json.dumps(committed_schema(name))
                body = json.dumps({"schema": schema, "schemaType": "AVRO"}).encode()
                subject = subject_name(topic, name.rpartition(".v")[0])
                self._ids[key] = int(self._ask(f"/subjects/{subject}", "id", body))
            return self._ids[key]

    def schema(self, schema_id: int) -> Schema:
        """The writer's schema; raises :class:`DecodeError` (UNKNOWN_SCHEMA) where nobody knows the id."""
        if not self._url:
            name = committed_ids().get(schema_id)
            if name is None:
                known = ", ".join(map(str, committed_ids()))
                raise DecodeError(
                    DeadLetterReason.UNKNOWN_SCHEMA, f"schema id {schema_id}: the committed ids are {known}"
                )
            return committed_schema(name)
        with self._lock:
            if time.monotonic() < self._unknown.get(schema_id, 0.0):
                raise DecodeError(
                    DeadLetterReason.UNKNOWN_SCHEMA, f"schema id {schema_id}: the registry did not know it just now"
                )
            if schema_id not in self._schemas:
                try:
                    self._schemas[schema_id] = self._fetch(schema_id)
                except DecodeError:
                    self._remember_unknown(schema_id)
                    raise
            return self._schemas[schema_id]

    def _fetch(self, schema_id: int) -> Schema:
        text = str(self._ask(f"/schemas/ids/{schema_id}", "schema"))
        try:
            schema: Schema = json.loads(text)
        except ValueError as problem:
            raise DecodeError(
                DeadLetterReason.UNKNOWN_SCHEMA, f"schema id {schema_id} is no JSON: {text[:80]}"
            ) from problem
        return schema

    def _remember_unknown(self, schema_id: int) -> None:
        """Not to be asked for again for a while: a flood of bad ids must not become one of requests."""
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown[schema_id] = time.monotonic() + self._unknown_s

    def _ask(self, path: str, key: str, body: bytes | None = None) -> Any:
        headers = {"Accept": "application/vnd.schemaregistry.v1+json", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return json.load(answer)[key]
        except urllib.error.HTTPError as problem:
            if problem.code == 404:
                raise DecodeError(
                    DeadLetterReason.UNKNOWN_SCHEMA, f"{self._url}{path}: the registry does not know it"
                ) from problem
            raise RegistryUnavailableError(
                f"{self._url}{path} answered {problem.code}: look at the registry"
            ) from problem
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as problem:
            raise RegistryUnavailableError(
                f"{self._url} does not answer as a registry ({problem!r}): start it, or unset it"
            ) from problem
