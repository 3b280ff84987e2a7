"""The local registry speaks Confluent's protocol over the committed schemas, and takes no write."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from kinestream.deploy.local import process
from kinestream.schemas.catalogue import FRAMES, FRAMES_DLQ, subject_name, topic_name
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.registry import Registry, committed_ids, latest_schema

SUBJECT = "motion.hub.frames.v1-io.kinestream.motion.FrameChunk"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = process.free_port()
    log = (tmp_path_factory.mktemp("registry") / "log").open("wb")
    command = [sys.executable, "-m", "kinestream.deploy.local.registry", "--port", str(port)]
    running: subprocess.Popen[bytes] = process.spawn(command, stdout=log, stderr=log)
    try:
        assert process.wait_until(lambda: not process.port_is_free(port), 30), Path(log.name).read_text()
        yield port
    finally:
        process.stop(running)
        log.close()


def ask(port: int, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "application/vnd.schemaregistry.v1+json"
        return answer.status, json.load(answer)
    finally:
        connection.close()


def test_every_committed_id_gives_a_schema_that_avro_reads(registry: int) -> None:
    for schema_id, name in committed_ids().items():
        status, answer = ask(registry, f"/schemas/ids/{schema_id}")
        assert status == 200
        assert fastavro.parse_schema(json.loads(answer["schema"]))["name"].endswith(name.partition(".v")[0])


def test_our_own_client_finds_the_committed_ids(registry: int) -> None:
    client = Registry(f"http://127.0.0.1:{registry}")
    assert client.id_of(topic_name(FRAMES, "hub"), "FrameChunk") == latest_schema("FrameChunk")[0]
    assert client.id_of(topic_name(FRAMES, "any-maker"), "EpisodeEnd") == latest_schema("EpisodeEnd")[0]
    assert client.schema(1) == Registry().schema(1)
    with pytest.raises(DecodeError, match="does not know"):
        client.schema(99)


def test_subjects_are_listed_for_the_tenant_and_answered_for_any(registry: int) -> None:
    status, listed = ask(registry, "/subjects")
    assert status == 200
    assert SUBJECT in listed
    assert not [subject for subject in listed if topic_name(FRAMES_DLQ, "hub") in subject]
    assert ask(registry, f"/subjects/{SUBJECT}/versions") == (200, [1])
    assert ask(registry, f"/subjects/{SUBJECT.replace('hub', 'acme-3')}/versions") == (200, [1])


@pytest.mark.parametrize("version", ["1", "latest", "-1"])
def test_a_version_says_subject_number_id_and_schema(registry: int, version: str) -> None:
    status, answer = ask(registry, f"/subjects/{SUBJECT}/versions/{version}")
    schema_id, schema = latest_schema("FrameChunk")
    assert (status, answer["subject"], answer["version"], answer["id"]) == (200, SUBJECT, 1, schema_id)
    assert json.loads(answer["schema"]) == schema


def test_a_schema_is_looked_up_without_its_docs(registry: int) -> None:
    schema_id, schema = latest_schema("FrameChunk")
    bare = {key: value for key, value in schema.items() if key != "doc"}
    for text in (json.dumps(schema, indent=2), json.dumps(bare)):
        status, answer = ask(registry, f"/subjects/{SUBJECT}", "POST", {"schema": text})
        assert (status, answer["id"], answer["version"]) == (200, schema_id, 1)


def test_the_rest_of_the_protocol(registry: int) -> None:
    assert ask(registry, "/schemas/types") == (200, ["AVRO"])
    assert ask(registry, "/config") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})
    assert ask(registry, f"/config/{SUBJECT}") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/subjects/nobody/versions", 404, 40401),
        (f"/subjects/{subject_name('motion.hub.frames.v1', 'EpisodeCompleted')}/versions", 404, 40401),
        (f"/subjects/{SUBJECT.replace('hub', 'NOT A TENANT').replace(' ', '%20')}/versions", 404, 40401),
        (f"/subjects/{SUBJECT}/versions/2", 404, 40402),
        (f"/subjects/{SUBJECT}/versions/first", 422, 42202),
        ("/schemas/ids/99", 404, 40403),
        ("/config/nobody", 404, 40401),
        ("/nowhere", 404, 404),
    ],
)
def test_what_is_not_there_has_confluents_error_code(registry: int, path: str, status: int, code: int) -> None:
    got, answer = ask(registry, path)
    assert (got, answer["error_code"]) == (status, code)


def test_a_schema_nobody_committed_is_not_found(registry: int) -> None:
    other = {"schema": json.dumps({"type": "record", "name": "X", "fields": []})}
    assert ask(registry, f"/subjects/{SUBJECT}", "POST", other)[1]["error_code"] == 40403
    assert ask(registry, "/subjects/nobody", "POST", other)[1]["error_code"] == 40401
    assert ask(registry, f"/subjects/{SUBJECT}", "POST", {"schema": "{"})[1]["error_code"] == 42201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/subjects/{SUBJECT}/versions"),
        ("DELETE", f"/subjects/{SUBJECT}"),
        ("DELETE", f"/subjects/{SUBJECT}/versions/1"),
        ("PUT", "/config"),
        ("PUT", f"/config/{SUBJECT}"),
    ],
)
def test_writes_are_refused(registry: int, method: str, path: str) -> None:
    status, answer = ask(registry, path, method, {"schema": "{}"})
    assert (status, answer["error_code"]) == (405, 405)
