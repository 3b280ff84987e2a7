"""Who is asking."""

from __future__ import annotations

from base64 import b64encode

import pytest

from kinestream.deploy.store.accounts import Account, Accounts
from kinestream.deploy.store.errors import QueryError
from kinestream.schemas.settings import Settings

ACCOUNTS = Accounts(Settings(clickhouse_password="pen:cil", clickhouse_reader_password="glasses"))


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "params"),
    [
        (basic("writer:pen:cil"), {}),
        ({"x-clickhouse-user": "writer", "x-clickhouse-key": "pen:cil"}, {}),
        ({}, {"user": "writer", "password": "pen:cil"}),
    ],
)
def test_each_way_to_say_who_one_is(headers: dict[str, str], params: dict[str, str]) -> None:
    assert ACCOUNTS.identify(headers, params) == Account("writer", read_only=False)


def test_the_reader_may_only_read() -> None:
    assert ACCOUNTS.identify(basic("reader:glasses"), {}).read_only


@pytest.mark.parametrize(
    ("headers", "params"),
    [
        ({}, {}),
        (basic("writer:wrong"), {}),
        (basic("nobody:pen:cil"), {}),
        (basic("writer:"), {}),
        ({"authorization": "Basic !!!"}, {}),
        ({"authorization": "Bearer abc"}, {}),
        ({"x-clickhouse-user": "writer"}, {"user": "writer", "password": "pen:cil"}),
        (basic("reader:pen:cil"), {}),
    ],
)
def test_everyone_else_is_refused_alike(headers: dict[str, str], params: dict[str, str]) -> None:
    with pytest.raises(QueryError, match="password is incorrect, or there is no user") as refused:
        ACCOUNTS.identify(headers, params)
    assert (refused.value.code, refused.value.status) == (516, 403)
