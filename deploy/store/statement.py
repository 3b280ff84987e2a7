"""One SQL statement as the engine's own parser sees it; must never guess at SQL the parser has not put in order."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kinestream.deploy.store.engine import Engine, parameter
from kinestream.deploy.store.errors import SYNTAX_ERROR, QueryError

_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL)
_FORMAT = re.compile(r" FORMAT (`?)(\w+)\1(?= SETTINGS [^()]*$|$)")
_NOT_FORMATS = {"ASC", "DESC"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in canonical form: no comments, one line, FORMAT taken off."""

    text: str
    #: its first word: SELECT, WITH, INSERT, SHOW ...
    kind: str
    #: the FORMAT clause's name, or empty
    format: str
    #: ``text`` without string literals and identifier quotes: what guards look at
    bare: str


def parse(engine: Engine, sql: str) -> Statement:
    """Have the engine's parser read ``sql``; :class:`QueryError` unless it is exactly one statement."""
    asked = {"q": parameter(sql)}
    with engine.handle() as handle:
        # Handed several statements, chDB runs them all: this call is NULL for them.
        canonical = handle.query("SELECT formatQuerySingleLineOrNull({q:String})", params=asked).text()
    if canonical == "\\N":
        raise _syntax_error(engine, asked)
    return read(canonical)


def read(canonical: str) -> Statement:
    """Take a canonical line apart."""
    found = _FORMAT.search(_mask(canonical, identifiers=True))
    name = ""
    text = canonical
    if found and found.group(2) not in _NOT_FORMATS:
        name = canonical[found.start(2) : found.end(2)]
        text = canonical[: found.start()] + canonical[found.end() :]
    return Statement(text, text.lstrip("( ").partition(" ")[0].upper(), name, _mask(text, identifiers=False))


def _mask(text: str, *, identifiers: bool) -> str:
    """``text`` at the same length, string literals blanked; quoted identifiers blanked too, or only unquoted."""

    def blank(match: re.Match[str]) -> str:
        quoted = match.group()
        if quoted[0] == "'" or (identifiers and not quoted[1:-1].isidentifier()):
            return quoted[0] + " " * (len(quoted) - 2) + quoted[0]
        return quoted if identifiers else " " + quoted[1:-1] + " "

    return _QUOTED.sub(blank, text)


def _syntax_error(engine: Engine, asked: dict[str, str]) -> QueryError:
    try:
        with engine.handle() as handle:
            handle.query("SELECT formatQuerySingleLine({q:String})", params=asked)
    except QueryError as problem:
        reason = str(problem).partition("DB::Exception: ")[2].partition(": In scope")[0]
        return QueryError(SYNTAX_ERROR, f"{reason or problem} (one statement at a time)")
    return QueryError(SYNTAX_ERROR, "Syntax error: not one statement")
