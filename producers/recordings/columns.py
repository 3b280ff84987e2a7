"""Columns of one Parquet or Arrow file as numpy arrays; never anything about what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.damaged import text_instead
from kinestream.schemas.errors import RecordingError
from kinestream.schemas.frames import Float32


class Columns:
    """The columns of one file; ``conversions`` tells what reading them had to change."""

    def __init__(self, path: Path, table: Any) -> None:
        self.path = path
        self.conversions: list[str] = []
        self._table = table

    def vector(self, name: str) -> npt.NDArray[Any]:
        """A column of numbers, (n,), in its own dtype."""
        column = self._whole(name)
        if column.type.num_fields:
            column = self._flat(name, column, 1)
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values

    def matrix(self, name: str, width: int) -> Float32:
        """A column of lists, float32 (n, width), bit for bit; float64 is rounded once, and that is told."""
        column = self._whole(name)
        values = self._flat(name, column, width).to_numpy(zero_copy_only=False)
        if values.dtype == np.float64:
            self.conversions.append(f"{name}: float64 rounded to float32")
        elif values.dtype != np.float32:
            raise RecordingError(f"{self.path}: the column {name} holds {values.dtype}; float32 or float64 is needed")
        matrix: Float32 = values.astype(np.float32, copy=False).reshape(len(column), width)
        return matrix

    def texts(self, name: str) -> tuple[str, ...]:
        """A column of texts, or of lists of texts, one text a row."""
        rows = self._table.column(name).to_pylist()
        return tuple("; ".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)

    def rows(self, first: int, end: int) -> Columns:
        """The rows from ``first`` to before ``end``."""
        return Columns(self.path, self._table.slice(first, end - first))

    @property
    def types(self) -> dict[str, Any]:
        """The Arrow type of each column."""
        return {field.name: field.type for field in self._table.schema}

    def _whole(self, name: str) -> Any:
        column = self._table.column(name)
        column = column if column.num_chunks == 1 else column.combine_chunks()
        column = column.chunk(0) if hasattr(column, "num_chunks") else column
        if column.null_count:
            raise RecordingError(f"{self.path}: the column {name} has {column.null_count} rows without a value")
        return column

    def _flat(self, name: str, column: Any, width: int) -> Any:
        flat = _values(column) if column.type.num_fields else column
        if len(flat) != len(column) * width or flat.null_count:
            raise RecordingError(f"{self.path}: the column {name} does not hold {width} values in every row")
        return flat


def _values(column: Any) -> Any:
    """What stands in a column of lists that are all there: as ``flatten``, which loads all of Arrow's kernels."""
    if size := getattr(column.type, "list_size", 0):
        return column.values.slice(column.offset * size, len(column) * size)
    if not hasattr(column, "offsets"):
        return column.flatten()
    first, end = column.offsets[0].as_py(), column.offsets[-1].as_py()
    return column.values.slice(first, end - first)


def check_file(path: Path, columns: Sequence[str]) -> int:
    """Rows of a sound file that has ``columns``, by its footer alone; raises :class:`RecordingError` otherwise."""
    try:
        footer = _open(path).metadata
        there = set(footer.schema.to_arrow_schema().names)
    except (OSError, library("pyarrow").ArrowException) as problem:
        raise RecordingError(f"{path} is damaged ({_line(problem)}); copy it anew") from problem
    absent = [name for name in columns if name not in there]
    if absent:
        raise RecordingError(f"{path} has no column {', '.join(absent)}; is it an episode of this data set?")
    if footer.num_rows == 0:
        raise RecordingError(f"{path} has no frames; take it out of the folder")
    return int(footer.num_rows)


def read_columns(path: Path, columns: Sequence[str]) -> Columns:
    """Read ``columns`` of a file; raises :class:`RecordingError` where it is cut short or damaged."""
    file, arrow = _open(path), import_module("pyarrow")
    try:
        # an episode is too small to be worth threads; several processes share the cores where there are several files
        return Columns(path, file.read(columns=list(columns), use_threads=False))
    except (OSError, arrow.ArrowException, MemoryError) as problem:
        raise RecordingError(f"{path} is damaged ({_line(problem)}); copy it anew") from problem


def read_arrow(path: Path) -> Columns:
    """All columns of an Arrow IPC stream or file; raises :class:`RecordingError` where it is cut short or damaged."""
    arrow = library("pyarrow")
    try:
        with arrow.memory_map(str(path)) as source:
            stream = arrow.BufferReader(source.read_buffer())
            table = (arrow.ipc.open_file if _is_file(path) else arrow.ipc.open_stream)(stream).read_all()
            table.validate(full=True)
    except (OSError, ValueError, arrow.ArrowException, MemoryError) as problem:
        raise text_instead(path, "Arrow file") or RecordingError(
            f"{path} is cut short or no Arrow file ({_line(problem)}); copy it anew"
        ) from problem
    return Columns(path, table)


def _is_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"


def library(name: str) -> Any:
    """A library of the extra ``recordings``; raises :class:`RecordingError` where it is not installed."""
    try:
        return import_module(name)
    except ImportError as missing:
        raise RecordingError(
            f"this recording is read with {name}, which is not installed: pip install 'kinestream[recordings]'"
        ) from missing


def _open(path: Path) -> Any:
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    if path.stat().st_size == 0:
        raise RecordingError(f"{path} is an empty file; copy it anew")
    try:
        return parquet.ParquetFile(path, pre_buffer=False)
    except (OSError, arrow.ArrowException) as problem:
        raise text_instead(path, "Parquet file") or RecordingError(
            f"{path} is cut short or no Parquet file ({_line(problem)}); copy it anew"
        ) from problem


def _line(problem: Exception) -> str:
    return str(problem).splitlines()[0].rstrip(".") if str(problem) else type(problem).__name__
