"""A gateway without a socket, on a real spool, with no broker in reach; and what a robot says to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kinestream import Settings
from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.session import Session
from tests.plugins.gateway import HELLO

START = {"type": "start", "take": "t1"}
Make = Callable[..., Gateway]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Gateway] = []

    def gateway(**settings: Any) -> Gateway:
        made.append(Gateway(Settings(kafka="127.0.0.1:1", spool=str(tmp_path), **settings)))
        return made[-1]

    yield gateway
    for one in made:
        one.close()


@pytest.fixture
def gateway(make: Make) -> Gateway:
    return make()


def say(session: Session, *messages: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    return session.feed(b"".join(line + b"\n" for line in lines))


def opened(gateway: Gateway, *more: dict[str, Any]) -> Session:
    session = gateway.session()
    say(session, HELLO, START, *more)
    return session


def reason(session: Session, *messages: dict[str, Any] | bytes) -> str:
    """Why the one refused line of these was."""
    (refused,) = [one for one in say(session, *messages) if one["type"] == "refused"]
    assert refused["text"]
    return str(refused["reason"])
