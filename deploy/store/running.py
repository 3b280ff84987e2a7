"""Which statements run, and how to end them; must never close a handle to do so: that blocks until its end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from kinestream.deploy.store.engine import Engine
from kinestream.deploy.store.errors import QUERY_ID_IN_USE, QueryError


@dataclass(frozen=True, slots=True)
class Ticket:
    """One running statement: ``mark`` begins its log_comment, by which the engine's own query is found."""

    query_id: str
    mark: str


class Running:
    """The tickets of this process. chDB makes its own query ids, so ours travel in log_comment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = itertools.count(1)
        self._tickets: dict[str, Ticket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, query_id: str) -> Ticket:
        """A ticket for a statement about to run; :class:`QueryError` 216 while the id is in use."""
        if query_id in self._tickets:
            raise QueryError(QUERY_ID_IN_USE, f"Query with id = {query_id} is already running.")
        ticket = Ticket(query_id, f"gw:{next(self._numbers)}|")
        self._tickets[query_id] = ticket
        return ticket

    def remove(self, ticket: Ticket) -> None:
        """Its handle is closed."""
        self._tickets.pop(ticket.query_id, None)

    def kill(self, query_id: str) -> bool:
        """Have the engine end the statement with this id; whether it was running. Blocks some milliseconds."""
        ticket = self._tickets.get(query_id)
        if ticket is not None:
            self._kill(ticket.mark)
        return ticket is not None

    def kill_all(self) -> None:
        """Have the engine end every statement a client started."""
        self._kill("gw:")

    def _kill(self, mark: str) -> None:
        with self._engine.handle() as handle:
            handle.query(f"KILL QUERY WHERE startsWith(Settings['log_comment'], '{mark}') ASYNC")
