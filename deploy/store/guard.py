"""What each account may ask; must never trust text the engine's parser has not put in order.

The engine itself refuses tables and functions that reach files and networks (grants in config.xml). Here is what
grants do not cover: scalar file(), INTO OUTFILE, FROM INFILE, SYSTEM and KILL for readers. Lists of the forbidden age,
so table functions are a list of the allowed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from kinestream.deploy.store.engine import Engine
from kinestream.deploy.store.errors import ACCESS_DENIED, NOT_IMPLEMENTED, READONLY, QueryError
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
#: functions that reach files, libraries, networks or a model's API
DENIED_FUNCTIONS = frozenset({"file", "reversednsquery", "catboostevaluate", "executable", "python", "eval"})
_SESSION_KINDS = ("SET ", "USE ", "CREATE TEMPORARY ", "BEGIN ", "COMMIT", "ROLLBACK")
_CALL = re.compile(r"(\w+)\s*\(")
_OUTSIDE = re.compile(r"\bINTO\s+OUTFILE\b|\bFROM\s+INFILE\b|\bINTO\s+FUNCTION\b", re.IGNORECASE)
_HIDING = re.compile(r"\bSETTINGS\b[^()]*\blog_comment\b", re.IGNORECASE)


def check(engine: Engine, statement: Statement, *, read_only: bool) -> None:
    """Let ``statement`` pass, or raise :class:`QueryError` naming what is not allowed."""
    bare = statement.bare
    if outside := _OUTSIDE.search(bare):
        raise QueryError(ACCESS_DENIED, f"{outside.group().upper()} is closed: send and fetch rows over HTTP")
    if _HIDING.search(bare):
        raise QueryError(ACCESS_DENIED, "log_comment marks queries for cancelling: give it as a URL parameter")
    denied = denied_functions(engine) if read_only else DENIED_FUNCTIONS | _ai_functions(engine)
    if called := denied & {name.lower() for name in _CALL.findall(bare)}:
        raise QueryError(ACCESS_DENIED, f"{', '.join(sorted(called))}() reaches outside the store and is closed")
    if read_only and statement.kind not in READS:
        allowed = ", ".join(sorted(READS))
        raise QueryError(READONLY, f"{statement.kind} in readonly mode; this account, and GET, may only {allowed}")
    if bare.startswith(_SESSION_KINDS):
        raise QueryError(NOT_IMPLEMENTED, f"{statement.kind} needs a session; send settings with each request")


@lru_cache(maxsize=4)
def denied_functions(engine: Engine) -> frozenset[str]:
    """Every function a reader may not call, lower case: the engine's own table functions minus the harmless."""
    with engine.handle() as handle:
        known = handle.query("SELECT lower(name) FROM system.table_functions").text().split("\n")
    return (frozenset(known) - HARMLESS_TABLE_FUNCTIONS) | DENIED_FUNCTIONS | _ai_functions(engine)


@lru_cache(maxsize=4)
def _ai_functions(engine: Engine) -> frozenset[str]:
    with engine.handle() as handle:
        return frozenset(handle.query("SELECT lower(name) FROM system.functions WHERE name ILIKE 'ai%'").text().split())
