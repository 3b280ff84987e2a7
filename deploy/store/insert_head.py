"""Where an INSERT's statement ends and its rows begin; must never look at the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"--[^\n]*\n|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|\w+|\s+|.", re.DOTALL
)
_CUT_SHORT = re.compile(rb"['`\"]|/\*|--")
_SPACE_TO_LINE_END = re.compile(rb"[ \t\f]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Head:
    """``statement`` up to and with FORMAT, the format's name, and the offset of the first byte of the rows."""

    statement: str
    format: str
    rows: int


class NeedMore(Exception):
    """The text so far neither holds a whole head nor excludes one."""


def is_insert(text: bytes) -> bool:
    """Whether the first word, after comments, is INSERT."""
    return next((token.upper() == b"INSERT" for token, _ in _tokens(text, final=True)), False)


def find(text: bytes, *, final: bool) -> Head | None:
    """The head of the INSERT in ``text``; None when its rows come from a query. Raises :class:`NeedMore`."""
    depth = 0
    after_format = False
    for token, end in _tokens(text, final=final):
        if after_format:
            return _head(text, end, token)
        depth += {b"(": 1, b")": -1}.get(token, 0)
        word = token.upper() if depth == 0 else b""
        if word in (b"SELECT", b"WITH", b"INFILE"):
            return None
        if word == b"VALUES":
            return _head(text, end, b"Values")
        after_format = word == b"FORMAT"
    return None


def _tokens(text: bytes, *, final: bool) -> Iterator[tuple[bytes, int]]:
    """Words, quoted text and marks with the offset after each, comments left out."""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if not final and (match.end() == len(text) or (len(token) == 1 and _CUT_SHORT.match(text, match.start()))):
            raise NeedMore
        if not (token.isspace() or token.startswith((b"--", b"/*"))):
            yield token, match.end()
    if not final:
        raise NeedMore


def _head(text: bytes, end: int, name: bytes) -> Head:
    skipped = _SPACE_TO_LINE_END.match(text, end)
    return Head(text[:end].decode(errors="replace"), name.decode(errors="replace"), skipped.end() if skipped else end)
