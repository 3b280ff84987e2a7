"""Owns the local schema registry: Confluent's read endpoints over the committed schemas; it never takes a write.

``python -m kinestream.deploy.local.registry --port N`` serves on 127.0.0.1. Subjects follow TopicRecordNameStrategy and
exist for every tenant: a subject's text says its tenant.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kinestream.schemas.catalogue import CATALOGUE, subject_name, topic_name
from kinestream.schemas.errors import ContractError
from kinestream.schemas.registry import Schema, committed_ids, committed_schema

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_COMPATIBILITY = "FULL_TRANSITIVE"


class Refused(Exception):
    """An answer of the registry that is an error: HTTP status, Confluent's error code, text."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


def subjects(tenant: str) -> list[str]:
    """Every subject of a tenant, sorted."""
    return sorted(subject_name(topic_name(topic, tenant), record) for topic in CATALOGUE for record in topic.records)


def versions(subject: str) -> dict[int, int]:
    """Schema id by version of a subject of any tenant; raises :class:`Refused` (40401) for one that is not there."""
    found = re.fullmatch(r"motion\.([^.]+)\..*", subject)
    try:
        known = subject in subjects(found.group(1)) if found else False
    except ContractError:  # no tenant could be called that
        known = False
    if not known:
        raise Refused(404, 40401, f"Subject '{subject}' not found.")
    record = subject.rpartition(".")[2]
    names = {schema_id: name.rpartition(".v") for schema_id, name in committed_ids().items()}
    return dict(sorted((int(number), schema_id) for schema_id, (one, _, number) in names.items() if one == record))


def _text(schema_id: int) -> str:
    return json.dumps(committed_schema(committed_ids()[schema_id]), separators=(",", ":"))


def _registered(subject: str, version: int, schema_id: int) -> dict[str, Any]:
    schema = {"schema": _text(schema_id), "schemaType": "AVRO"}
    return {"subject": subject, "version": version, "id": schema_id, **schema}


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _schema(request: Request) -> Any:
    schema_id = _number(request.path_params["id"])
    if schema_id not in committed_ids():
        raise Refused(404, 40403, f"Schema {request.path_params['id']} not found")
    return {"schema": _text(schema_id), "schemaType": "AVRO"}


def _version(request: Request) -> Any:
    subject, asked = request.path_params["subject"], request.path_params["version"]
    known = versions(subject)
    version = max(known) if asked in ("latest", "-1") else _number(asked)
    if version < 1:
        raise Refused(422, 42202, f"The specified version '{asked}' is not a valid version id. Allowed: 1.. or latest")
    if version not in known:
        raise Refused(404, 40402, f"Version {version} not found.")
    return _registered(subject, version, known[version])


def _subject_config(request: Request) -> Any:
    versions(request.path_params["subject"])
    return {"compatibilityLevel": _COMPATIBILITY}


def look_up(subject: str, body: bytes) -> dict[str, Any]:
    """The registered schema equal to the one in ``body``; raises :class:`Refused` (40401, 40403, 42201)."""
    known = versions(subject)
    try:
        schema: Schema = json.loads(json.loads(body)["schema"])
    except (ValueError, KeyError, TypeError):
        raise Refused(422, 42201, "Invalid schema: the body is {'schema': <Avro schema as a JSON string>}") from None
    for version, schema_id in known.items():
        if _bare(schema) == _bare(committed_schema(committed_ids()[schema_id])):
            return _registered(subject, version, schema_id)
    raise Refused(404, 40403, "Schema not found")


def _bare(schema: Any) -> Any:
    """A schema without its docs: they change no byte of a record, and clients drop them."""
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if isinstance(schema, dict):
        return {key: _bare(value) for key, value in schema.items() if key != "doc"}
    return schema


def _get(path: str, answer: Callable[[Request], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(answer(request), media_type=MEDIA_TYPE)

    return Route(path, endpoint, methods=["GET"])


async def _post_subject(request: Request) -> Response:
    found = look_up(request.path_params["subject"], await request.body())
    return JSONResponse(found, media_type=MEDIA_TYPE)


def _refusal(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Refused)
    body = {"error_code": problem.code, "message": str(problem)}
    return JSONResponse(body, problem.status, media_type=MEDIA_TYPE)


def _http_refusal(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    texts = {405: "This registry serves the committed schemas and takes no writes", 404: "HTTP 404 Not Found"}
    body = {"error_code": problem.status_code, "message": texts.get(problem.status_code, problem.detail)}
    return JSONResponse(body, problem.status_code, headers=problem.headers, media_type=MEDIA_TYPE)


def application(tenant: str = "hub") -> Starlette:
    """The web application; ``tenant`` is the one whose subjects are listed."""
    routes = [
        _get("/", lambda _: {}),
        _get("/schemas/types", lambda _: ["AVRO"]),
        _get("/schemas/ids/{id}", _schema),
        _get("/subjects", lambda _: subjects(tenant)),
        Route("/subjects/{subject}", _post_subject, methods=["POST"]),
        _get("/subjects/{subject}/versions", lambda request: list(versions(request.path_params["subject"]))),
        _get("/subjects/{subject}/versions/{version}", _version),
        _get("/config", lambda _: {"compatibilityLevel": _COMPATIBILITY}),
        _get("/config/{subject}", _subject_config),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: _refusal, HTTPException: _http_refusal})


def main() -> None:
    """Command line of the registry process."""
    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.local.registry", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1")
    parser.add_argument("--tenant", default="hub", help="whose subjects /subjects lists")
    given = parser.parse_args()
    uvicorn.run(application(given.tenant), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
