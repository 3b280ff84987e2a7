"""Owns how commands speak: progress and errors on stderr, the result on stdout; it decides nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any


@contextmanager
def working(title: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr that something takes time (a spinner on a terminal); the function it gives prints one line."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)

    def line(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    if console.is_terminal:
        with console.status(title):
            yield line
    else:
        yield line


def say(text: str) -> None:
    """A line of the result, on stdout."""
    print(text)


def complain(text: str) -> None:
    """One ``error:`` line on stderr."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr)


def emit_json(document: Any) -> None:
    """The one document a ``--json`` command prints on stdout; dataclasses become objects, what is no number null."""
    text = json.dumps(document, default=_plain, ensure_ascii=False)
    if "NaN" in text or "Infinity" in text:  # as values they are no JSON, and most readers refuse them
        text = json.dumps(json.loads(text, parse_constant=lambda _: None), ensure_ascii=False)
    print(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], widest: int = 1000) -> None:
    """A table on stdout: aligned, without frames, whole cells also when piped; beyond ``widest`` cells are folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text.from_ansi(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal or console.width > widest:
        console = Console(highlight=False, width=widest)
    console.print(shown)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
