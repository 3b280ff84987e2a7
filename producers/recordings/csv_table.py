"""The cells of a CSV file: its header, its columns of numbers, what damages it; never what a column means."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kinestream.schemas.errors import RecordingError

Table = npt.NDArray[np.float64]

#: Columns that a sentence names.
SHOWN: Final = 6
_WORDS: Final = {"true": 1.0, "false": 0.0, "": np.nan}
#: Characters of a column's name: names are taken apart by patterns that a page of text would keep busy.
_LONGEST: Final = 200
#: What a column without a name is called where it is left out.
_COUNTS: Final = "column {} (no name: it counts the rows)"
_EMPTY: Final = "column {} (no name, no values)"


def read_table(path: Path) -> tuple[tuple[str, ...], Table, tuple[str, ...]]:
    """Header (() = none), the columns of numbers (n, c), and the names of the others; booleans are 0 and 1.

    Raises :class:`RecordingError` with row and column where it is damaged.
    """
    numbered = _rows(path)
    if numbered and any(sign in numbered[0][1][0] for sign in ";\t"):
        raise RecordingError(
            f"{path}: its values are parted by ';' or tabs; part them by commas, and write decimals with a point"
        )
    header = _header(path, numbered[0][1]) if numbered else ()
    lines = [line for line, _ in numbered[bool(header) :]]
    rows = [row for _, row in numbered[bool(header) :]]
    if not rows:
        raise RecordingError(
            f"{path} has {'a header and ' if header else ''}no rows of values; a frame is a row of numbers: copy it"
            " anew, or take it out"
        )
    width = len(header or rows[0])
    ragged = next((line for line, row in zip(lines, rows, strict=True) if len(row) != width), 0)
    if ragged:
        raise RecordingError(
            f"{path}: row {ragged} has not {width} columns as the first one; it is cut short or damaged"
        )
    cells = list(zip(*rows, strict=True))
    header, nameless = _named(path, header, cells)
    names = header or tuple(str(c + 1) for c in range(width))
    columns = [None if name in nameless else _column(path, name, lines, cells[c]) for c, name in enumerate(names)]
    kept = [c for c, column in enumerate(columns) if column is not None]
    table = np.array([columns[c] for c in kept], np.float64).T.reshape(len(rows), len(kept))
    if not kept:
        raise RecordingError(
            f"{path}: no column holds numbers; row {lines[0]} begins {', '.join(map(repr, rows[0][:3]))}: write"
            " decimals with a point and no unit behind them"
        )
    left = tuple(name for c, name in enumerate(header) if c not in kept)
    return tuple(header[c] for c in kept) if header else (), table, left


def missing(names: Sequence[str], table: Table) -> tuple[str, ...]:
    """How many values there are not, or are infinite, as oddities; empty where all are numbers."""
    kinds = ((np.isnan(table), "are empty or nan", ": NaN there"), (np.isinf(table), "are infinite", ""))
    told = []
    for found, what, so in kinds:
        counts = found.sum(axis=0)
        where = [f"{name}: {many}" for name, many in zip(names, counts.tolist(), strict=True) if many]
        more = f" and {len(where) - SHOWN} columns more" if len(where) > SHOWN else ""
        told += [f"{counts.sum()} cells {what} ({', '.join(where[:SHOWN])}{more}){so}"] if where else []
    return tuple(told)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that hold anything, each with the number of its line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as problem:
        raise RecordingError(
            f"{path} is no UTF-8: byte 0x{problem.object[problem.start]:02x} stands where none can; a CSV is read as"
            " UTF-8, so save it as that (Excel: CSV UTF-8)"
        ) from problem
    except csv.Error as problem:
        raise RecordingError(f"{path} is no CSV ({problem}); write rows of numbers between commas") from problem
    if any("\0" in cell for _, row in numbered[:1] for cell in row):
        raise RecordingError(f"{path} holds NUL bytes and no text; it was never written whole: copy it anew")
    return _without_comments(numbered)


def _without_comments(numbered: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Without the rows before the first that begin with #, but for a header that numpy writes so."""
    first = next((k for k, (_, row) in enumerate(numbered) if not row[0].lstrip().startswith("#")), 0)
    if not first:
        return numbered
    line, row = numbered[first - 1]
    row = [row[0].lstrip().lstrip("#"), *row[1:]]
    after = numbered[first][1]
    is_header = len(row) == len(after) and all(map(_is_number, after)) and not all(map(_is_number, row))
    return [*([(line, row)] if is_header else []), *numbered[first:]]


def _header(path: Path, row: Sequence[str]) -> tuple[str, ...]:
    """The names of the first row; () where it is all numbers. Raises for numbers among which some are damaged."""
    if all(map(_is_number, row)):
        return ()
    names = tuple(name.strip() for name in row)
    if (longest := max(map(len, names))) > _LONGEST:
        raise RecordingError(
            f"{path}: its first row holds a text of {longest:,} characters; a column's name has {_LONGEST} at most"
        )
    text = [name for name in names if not _is_number(name)]
    if 2 * len(text) < len([name for name in names if name]):
        raise RecordingError(
            f"{path}: row 1, column {names.index(text[0]) + 1} holds {text[0]!r} among numbers: neither a header nor"
            " values; mend that cell, or name every column"
        )
    return names


def _named(
    path: Path, header: tuple[str, ...], cells: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The header, and what a writer of tables adds without a name: a count of the rows, an empty column at the end."""
    names, added = list(header), set[str]()
    for c, name in enumerate(header):
        if name:
            continue
        counts = [str(first + k) for first in (0, 1) for k in range(len(cells[c]))]
        if c == 0 and list(cells[c]) in (counts[: len(cells[c])], counts[len(cells[c]) :]):
            names[c] = _COUNTS.format(c + 1)
        elif not any(cell.strip() for cell in cells[c]):
            names[c] = _EMPTY.format(c + 1)
        else:
            raise RecordingError(f"{path}: its header gives column {c + 1} no name; every column of values needs one")
        added.add(names[c])
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        where = " and ".join(str(c + 1) for c, name in enumerate(names) if name == twice[0])
        raise RecordingError(
            f"{path}: its header gives columns {where} the same name, {twice[0]}; give each its own, or take one out"
        )
    return tuple(names), frozenset(added)


def _column(path: Path, name: str, lines: Sequence[int], cells: Sequence[str]) -> list[float] | None:
    """A column's numbers; None where it is one of text: more than half of the cells that hold anything."""
    try:
        return [_number(cell) for cell in cells]
    except ValueError:
        text = [k for k, cell in enumerate(cells) if not _is_number(cell)]
    if 2 * len(text) > sum(1 for cell in cells if cell.strip()):
        return None
    more = f" (and {len(text) - 1} more of this column)" if len(text) > 1 else ""
    raise RecordingError(
        f"{path}: row {lines[text[0]]}, column {name} holds {cells[text[0]].strip()!r} among numbers"
        f"{more}; mend it, or leave it empty for a missing value"
    )


def _number(text: str) -> float:
    """An empty field is NaN, a truth value 0 or 1; raises ValueError for any other text."""
    word = text.strip().lower()
    return _WORDS[word] if word in _WORDS else float(word)


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True
