"""The HTTP endpoint: one request from question to last byte; must never block the event loop."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from kinestream.deploy.store import coding, formats, guard, insert_head, native
from kinestream.deploy.store.accounts import Account, Accounts
from kinestream.deploy.store.blocks import BlockEncoder
from kinestream.deploy.store.engine import Engine
from kinestream.deploy.store.errors import SYNTAX_ERROR, UNKNOWN_EXCEPTION, QueryError
from kinestream.deploy.store.inserting import Inserting
from kinestream.deploy.store.request import Ask, body, is_form, read_ask, read_form
from kinestream.deploy.store.response import Response
from kinestream.deploy.store.results import Run, pieces
from kinestream.deploy.store.running import Running, Ticket
from kinestream.deploy.store.statement import Statement, parse
from kinestream.schemas.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")
#: statements that run at once; more wait
THREADS = 32
#: SQL text of one statement, bytes
LONGEST_STATEMENT = 1 << 20
_INSERT_PIECE = 1 << 20
#: statements whose canonical form is kept, and the longest of them, characters: workers and boards repeat theirs, and
#: the parser's answer is 1.9 ms of CPU, of 6 for a small SELECT
_KEPT_STATEMENTS, _KEPT_LENGTH = 256, 1 << 13
_KILL_ONE = re.compile(r"KILL QUERY WHERE query_id = '([^'\\]*)' (?:ASYNC|SYNC)")


class Gateway:
    """An ASGI application that answers ClickHouse's HTTP dialect on ``/``."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._accounts = Accounts(settings)
        self._pool = ThreadPoolExecutor(THREADS, "query")
        # Its own thread: with every query thread busy, a kill must still get through.
        self._kill_pool = ThreadPoolExecutor(2, "kill")
        self._guard = guard.Guard(engine)
        self._parse_often = lru_cache(_KEPT_STATEMENTS)(partial(parse, engine))
        self.running = Running(engine)
        with engine.handle() as handle:
            self._version = handle.query("SELECT version()").text()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors go out in ClickHouse's form."""
        request = Request(scope, receive)
        ask = read_ask(request)
        response = Response(send, ask.query_id)
        try:
            account = self._accounts.identify(request.headers, request.query_params)
            await self._answer(request, ask, account, response)
        except QueryError as problem:
            with suppress(OSError):
                await response.fail(problem)
        except ClientDisconnect:
            log.info("client of query %s hung up", ask.query_id)
        except Exception as problem:
            log.exception("query %s failed inside the store", ask.query_id)
            await response.fail(
                QueryError(UNKNOWN_EXCEPTION, f"{type(problem).__name__} inside the store; see its log")
            )

    async def _answer(self, request: Request, ask: Ask, account: Account, response: Response) -> None:
        async with aclosing(body(request)) as content:
            if is_form(request):
                whole = b"".join([piece async for piece in content])
                ask = read_form(ask, request.headers["content-type"], whole)
            text, head = await _statement_text(ask, content)
            if not text.strip() and request.method == "GET":
                await response.begin("text/html; charset=UTF-8", "", ("", coding.Plain()), {})
                await response.piece(b"Ok.\n")
                return await response.end()
            read_only = account.read_only or request.method not in ("POST", "PUT")
            sql = head.statement if head else text.decode(errors="replace")
            statement = await self._in_thread(lambda: self._checked(sql, ask.params, read_only))
            ticket = self.running.add(ask.query_id)
            run = _run(self._engine, ask, statement, ticket, read_only)
            try:
                if head:
                    await self._insert(run, text[head.rows :], content, response, _coding(ask))
                elif killed := _KILL_ONE.fullmatch(statement.text):
                    await self._kill(killed.group(1))
                    await response.begin(formats.mime(run.format), run.format, _coding(ask), {})
                elif statement.text == native.HELLO and run.format == "Native" and ask.speaks_native:
                    await response.begin(formats.mime(run.format), run.format, _coding(ask), {})
                    await response.piece(native.hello("kinestream", self._version, "UTC"))
                else:
                    await self._select(run, request.receive, ask, response, ticket)
            finally:
                self.running.remove(ticket)
        await response.end()

    def _checked(self, sql: str, params: Mapping[str, str], read_only: bool) -> Statement:
        statement = self._parse_often(sql) if len(sql) <= _KEPT_LENGTH else parse(self._engine, sql)
        self._guard.check(statement, params, read_only=read_only)
        return statement

    async def _select(self, run: Run, receive: Receive, ask: Ask, response: Response, ticket: Ticket) -> None:
        steps = pieces(run)
        hangup = asyncio.create_task(_hung_up(receive))
        try:
            # The first piece before the status line: what fails early still gets its status and code.
            piece = await self._step(steps, hangup, run, ticket)
            await response.begin(formats.mime(run.format), run.format, _coding(ask), run.counts)
            while piece is not None:
                await response.piece(piece)
                piece = await self._step(steps, hangup, run, ticket)
        finally:
            hangup.cancel()
            close = getattr(steps, "close", None)
            if close is not None:
                await self._in_thread(close)

    async def _step(self, steps: Iterator[bytes], hangup: asyncio.Task[None], run: Run, ticket: Ticket) -> bytes | None:
        step = asyncio.get_running_loop().run_in_executor(self._pool, lambda: next(steps, None))
        waited: set[asyncio.Future[Any]] = {step, hangup}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                return step.result()
            # As on a server, statements that write go on when their client is gone.
            await self._end(step, ticket if run.statement.kind in guard.READS else None)
        except asyncio.CancelledError:
            await self._end(step, ticket)
            raise
        raise ClientDisconnect

    async def _end(self, step: asyncio.Future[bytes | None], ticket: Ticket | None) -> None:
        """Kill until the thread is back: a kill before the engine has registered the query does nothing."""
        while not step.done():
            if ticket is not None:
                await self._kill(ticket.query_id)
            await asyncio.wait({step}, timeout=0.1)
        with suppress(QueryError):
            step.result()

    async def _insert(
        self,
        run: Run,
        rows: bytes,
        content: AsyncIterator[bytes],
        response: Response,
        answer: tuple[str, coding.Encoder],
    ) -> None:
        inserting = Inserting(run)
        held = bytearray(rows)
        try:
            async for piece in content:
                held += piece
                if len(held) >= _INSERT_PIECE:
                    await self._in_thread(partial(inserting.append, bytes(held)))
                    held.clear()
            await self._in_thread(partial(inserting.finish, bytes(held)))
        finally:
            await self._in_thread(inserting.abandon)
        await response.begin("text/plain; charset=UTF-8", "", answer, run.counts)

    async def _kill(self, query_id: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._kill_pool, self.running.kill, query_id)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work; when cancelled, wait for it first: its handle is not ours to close before."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            raise


def _run(engine: Engine, ask: Ask, statement: Statement, ticket: Ticket, read_only: bool) -> Run:
    settings = {name: value for name, value in ask.settings.items() if not (read_only and name == "readonly")}
    settings = dict(sorted(settings.items(), key=lambda item: item[0] == "readonly"))
    settings = {"log_comment": f"{ticket.mark}{ask.query_id}|{ask.log_comment}", **settings}
    format = statement.format or ask.format
    return Run(engine, statement, format, ask.database, settings, ask.params, read_only)


def _coding(ask: Ask) -> tuple[str, coding.Encoder]:
    return ("", BlockEncoder()) if ask.blocks else coding.encoder(ask.accept)


async def _statement_text(ask: Ask, content: AsyncIterator[bytes]) -> tuple[bytes, insert_head.Head | None]:
    """The SQL, from URL and body; of an INSERT with rows only as much as holds its head."""
    held = bytearray(ask.sql.encode() + b"\n" if ask.sql else b"")
    rows_follow = True
    while True:
        if rows_follow and insert_head.is_insert(bytes(held[:LONGEST_STATEMENT])):
            with suppress(insert_head.NeedMore):
                if head := insert_head.find(bytes(held), final=False):
                    return bytes(held), head
                rows_follow = False
        if len(held) > LONGEST_STATEMENT:
            raise QueryError(SYNTAX_ERROR, f"the statement is longer than {LONGEST_STATEMENT} bytes")
        piece = await anext(content, None)
        if piece is None:
            break
        held += piece
    text = bytes(held)
    return text, insert_head.find(text, final=True) if insert_head.is_insert(text) else None


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
