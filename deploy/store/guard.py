"""What each account may ask; must never trust text the engine's parser has not put in order.

The engine itself refuses tables and functions that reach files and networks (grants in config.xml). Here is what
grants do not cover: scalar file(), INTO OUTFILE, FROM INFILE, SYSTEM and KILL for readers. Settings whose text is
SQL, a path or a URL are closed in config.xml. Lists of the forbidden age, so table functions are a list of the allowed.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree
from collections.abc import Mapping

from kinestream.deploy.store.engine import CONFIG, Engine
from kinestream.deploy.store.errors import (
    ACCESS_DENIED,
    NOT_IMPLEMENTED,
    READONLY,
    SETTING_CONSTRAINT_VIOLATION,
    QueryError,
)
from kinestream.deploy.store.statement import Statement

#: statements that only read
READS = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN"})
#: table functions that touch nothing outside the store
HARMLESS_TABLE_FUNCTIONS = frozenset(
    [
        "format",
        "generaterandom",
        "generate_series",
        "generateseries",
        "merge",
        "mergetreeindex",
        "mergetreeprojection",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "sqlstandardvalues",
        "values",
        "view",
        "viewexplain",
        "viewifpermitted",
        "zeros",
        "zeros_mt",
    ]
)
#: functions that reach files, libraries, networks; those of a model's API (ai...) are taken from the engine
DENIED_FUNCTIONS = frozenset({"file", "reversednsquery", "catboostevaluate"})
#: table functions that run text as SQL or code
DENIED_TABLE_FUNCTIONS = frozenset({"executable", "python", "eval", "filesystem"})
_SESSION_KINDS = ("SET ", "USE ", "CREATE TEMPORARY ", "BEGIN ", "COMMIT", "ROLLBACK")
_WORD = re.compile(r"\w+")
_CALL = re.compile(r"(\w+)\s*\(")
_IDENTIFIER_PARAMETER = re.compile(r"\{\s*(\w+)\s*:\s*Identifier\s*\}")
_OUTSIDE = re.compile(r"\bINTO\s+OUTFILE\b|\bFROM\s+INFILE\b|\bINTO\s+FUNCTION\b", re.IGNORECASE)
_CONFIGURED = "./profiles/default/constraints/*"


def closed_settings() -> frozenset[str]:
    """The settings config.xml closes for everyone."""
    configured = xml.etree.ElementTree.parse(CONFIG).findall(_CONFIGURED)
    return frozenset(setting.tag for setting in configured if setting.find("const") is not None)


class Guard:
    """The rules, with the names of the functions this engine has."""

    def __init__(self, engine: Engine) -> None:
        with engine.handle() as handle:
            ai = handle.query("SELECT lower(name) FROM system.functions WHERE name ILIKE 'ai%'").text().split()
            tables = handle.query("SELECT lower(name) FROM system.table_functions").text().split()
        # log_comment marks queries for cancelling. The others the engine refuses by itself, but not in a subquery's
        # SETTINGS, where filter = '...' still runs SQL that nobody has checked.
        names = "|".join(sorted(closed_settings() | {"log_comment"}))
        self._closed = re.compile(rf"\bSETTINGS\b.*\b({names})\s*=")
        #: never named at all: a function reaches arrayMap(file, ...) and APPLY(file) without being called
        self.denied = DENIED_FUNCTIONS | frozenset(ai)
        #: not called by a reader
        self.denied_to_readers = frozenset(tables) - HARMLESS_TABLE_FUNCTIONS

    def check(self, statement: Statement, params: Mapping[str, str], *, read_only: bool) -> None:
        """Let ``statement`` pass, or raise :class:`QueryError` naming what is not allowed."""
        bare = statement.bare
        if outside := _OUTSIDE.search(bare):
            raise QueryError(ACCESS_DENIED, f"{outside.group().upper()} is closed: send and fetch rows over HTTP")
        if closed := self._closed.search(bare):
            raise QueryError(SETTING_CONSTRAINT_VIOLATION, f"Setting {closed.group(1)} is closed in statements")
        if found := self._functions(bare, params, read_only):
            named = ", ".join(sorted(found))
            raise QueryError(ACCESS_DENIED, f"{named} reaches outside the store and is closed, as is the bare word")
        if read_only and statement.kind not in READS:
            allowed = ", ".join(sorted(READS))
            raise QueryError(READONLY, f"{statement.kind} in readonly mode; this account, and GET, may only {allowed}")
        if bare.startswith(_SESSION_KINDS):
            told = f"{statement.kind} needs a session, and none is kept: send settings and database with each request"
            raise QueryError(NOT_IMPLEMENTED, told)

    def _functions(self, bare: str, params: Mapping[str, str], read_only: bool) -> frozenset[str]:
        # {name:Identifier} is filled in after the engine's parser has shown us the statement.
        filled = " ".join(params.get(name, "") for name in _IDENTIFIER_PARAMETER.findall(bare))
        words = {word.lower() for word in _WORD.findall(f"{bare} {filled}")}
        called = {name.lower() for name in _CALL.findall(bare)}
        tables = self.denied_to_readers if read_only else DENIED_TABLE_FUNCTIONS
        return (self.denied & words) | (tables & called)
