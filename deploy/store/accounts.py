"""Who is asking: the writer or the reader; must never tell which half of a credential was wrong."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass

from kinestream.deploy.store.errors import AUTHENTICATION_FAILED, QueryError
from kinestream.schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Account:
    """A name and whether it may only read."""

    name: str
    read_only: bool


class Accounts:
    """The two accounts of :class:`Settings`."""

    def __init__(self, settings: Settings) -> None:
        self._known = (
            (Account(settings.clickhouse_user, False), settings.clickhouse_password),
            (Account(settings.clickhouse_reader, True), settings.clickhouse_reader_password),
        )

    def identify(self, headers: Mapping[str, str], params: Mapping[str, str]) -> Account:
        """By X-ClickHouse-User/Key, Basic, or ?user=&password=; :class:`QueryError` 516 otherwise."""
        name, password = _credentials(headers, params)
        for account, right in self._known:
            if name == account.name and hmac.compare_digest(password.encode(), right.encode()):
                return account
        raise QueryError(
            AUTHENTICATION_FAILED,
            f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
        )


def _credentials(headers: Mapping[str, str], params: Mapping[str, str]) -> tuple[str, str]:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "default", ""
        return name, password
    return params.get("user", "default"), params.get("password", "")
