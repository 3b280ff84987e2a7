"""Connections to the store, whatever stands behind the URL; must never hide why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from kinestream.schemas.errors import StoreDeniedError, StoreError

# Codes after which the same request may succeed later: timeouts, memory, too many parts, read-only replica, and a
# query that was cancelled, as a server does with those it is running when it is told to stop.
_PASSING = frozenset({159, 202, 209, 210, 241, 242, 243, 252, 319, 394, 425, 999})
#: What to do where no store answers.
_START = "see `kinestream status`, start it with `kinestream up`, or set KINESTREAM_CLICKHOUSE"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def connect(
    url: str,
    database: str,
    user: str,
    password: str,
    *,
    settings: Mapping[str, Any] | None = None,
    timeout_s: float = 60,
) -> Client:
    """A clickhouse-connect client that threads may share.

    ``database`` may be empty (none chosen). ``timeout_s`` bounds one request. Raises :class:`StoreError` with one
    clear line when nobody answers at ``url``; :class:`StoreDeniedError` when the credentials are wrong or the database
    is not there.
    """
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise StoreError(f"{url!r} is no ClickHouse URL: give http://host:port or https://host:port")
    try:
        return clickhouse_connect.get_client(
            interface=where.scheme,
            host=where.hostname,
            port=where.port or (8443 if where.scheme == "https" else 8123),
            username=user,
            password=password,
            database=database or "default",
            # A session admits one request at a time: with one id a client cannot be shared.
            autogenerate_session_id=False,
            # Packing float32 noise for a trip over loopback costs more than the trip.
            compress=where.hostname not in _LOOPBACK,
            connect_timeout=5,
            send_receive_timeout=timeout_s,
            settings=dict(settings or {}),
        )
    except ClickHouseError as problem:
        denied = isinstance(problem, DatabaseError) and not is_passing(problem)
        kind = StoreDeniedError if denied else StoreError
        raise kind(_reason(url, database, user, problem)) from problem


def is_passing(problem: BaseException) -> bool:
    """Whether a failed request may be repeated later as it is: the store is away, slow or full, not unwilling."""
    if isinstance(problem, DatabaseError) and problem.code is not None:
        return problem.code in _PASSING
    return isinstance(problem, ClickHouseError | OSError)


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Whatever a read inside fails with becomes a :class:`StoreError` of one line, which names the store."""
    try:
        yield
    except (ClickHouseError, OSError) as problem:
        if not isinstance(problem, DatabaseError) and (why := _unreachable(problem)):
            raise StoreError(f"no store answers at {url} ({why}): {_START}") from problem
        reason = (str(problem).strip() or repr(problem)).splitlines()[0]
        raise StoreError(
            f"the store at {url} does not answer as it should ({reason}): see `kinestream status`"
        ) from problem


def _reason(url: str, database: str, user: str, problem: ClickHouseError) -> str:
    code = problem.code if isinstance(problem, DatabaseError) else None
    if code == 516:
        return f"the store at {url} refuses account {user!r}: set KINESTREAM_CLICKHOUSE_USER and _PASSWORD"
    if code == 81:
        return f"the store at {url} has no database {database!r}: `kinestream up` makes it"
    if code is not None:
        return f"the store at {url} refused the connection: {problem}"
    reason = _unreachable(problem) or str(problem).strip().splitlines()[-1]
    return f"no store answers at {url} ({reason}): {_START}"


def _unreachable(problem: BaseException) -> str:
    """Why no connection was made, in the system's words: what HTTP libraries wrap around them says nothing more."""
    seen: list[BaseException] = []
    cause: BaseException | None = problem
    while cause is not None and cause not in seen:
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    for one in reversed(seen):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror.lower()
    return "it took too long" if any("timed out" in str(one) for one in seen) else ""
