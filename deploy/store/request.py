"""One HTTP request as a typed question; must never run anything."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from email.policy import HTTP

from starlette.requests import Request

from kinestream.deploy.store import coding
from kinestream.deploy.store.blocks import BlockDecoder
from kinestream.deploy.store.errors import NOT_IMPLEMENTED, QueryError

# What concerns the transport, not the engine: never SET.
_TRANSPORT = frozenset(
    [
        "user",
        "password",
        "quota_key",
        "query",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "query_id",
        "compress",
        "decompress",
        "stacktrace",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "role",
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "add_http_cors_header",
        "cancel_http_readonly_queries_on_client_close",
        "http_write_exception_in_output_format",
        "log_comment",
    ]
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What the client wants, the body apart."""

    sql: str
    database: str
    format: str
    query_id: str
    #: Accept-Encoding if the client asked for coded results, else ""
    accept: str
    blocks: bool
    speaks_native: bool
    log_comment: str
    params: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


def read_ask(request: Request) -> Ask:
    """The question in URL and headers."""
    url, headers = request.query_params, request.headers
    return Ask(
        sql=url.get("query", ""),
        database=url.get("database") or headers.get("x-clickhouse-database", ""),
        format=url.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        query_id=url.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4()),
        accept=headers.get("accept-encoding", "") if url.get("enable_http_compression", "0") in ("1", "true") else "",
        blocks=url.get("compress", "0") in ("1", "true"),
        speaks_native=url.get("client_protocol_version", "0") != "0",
        log_comment=url.get("log_comment", ""),
        params={name.removeprefix("param_"): value for name, value in url.items() if name.startswith("param_")},
        settings={k: v for k, v in url.items() if k not in _TRANSPORT and not k.startswith("param_")},
    )


async def body(request: Request) -> AsyncGenerator[bytes, None]:
    """The body's plain bytes; :class:`QueryError` when it is damaged or was cut off."""
    chain: list[coding.Decoder] = [coding.decoder(request.headers.get("content-encoding", ""))]
    if request.query_params.get("decompress", "0") in ("1", "true"):
        chain.append(BlockDecoder())
    async for piece in request.stream():
        for decoder in chain:
            piece = decoder.decode(piece)
        if piece:
            yield piece
    for decoder in chain:
        decoder.end()


def is_form(request: Request) -> bool:
    """Whether query and parameters come as a form, as clients send them when too long for a URL."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def read_form(ask: Ask, content_type: str, content: bytes) -> Ask:
    """``ask`` with the form's query and parameters. External tables are refused (:class:`QueryError`)."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content)
    sql, params = ask.sql, dict(ask.params)
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        payload = part.get_payload(decode=True)
        value = payload.decode() if isinstance(payload, bytes) else ""
        if name == "query":
            sql = value
        elif name.startswith("param_"):
            params[name.removeprefix("param_")] = value
        else:
            raise QueryError(NOT_IMPLEMENTED, f"form field {name!r}: external tables are not supported")
    return replace(ask, sql=sql, params=params)
