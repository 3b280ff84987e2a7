"""Many Arrow stream documents rewritten as one stream or file; must never change a value."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa


class _Sink:
    """A file that is emptied after every batch, so that a large result never lies in memory."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._parts.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def one_document(chunks: Iterator[bytes], *, file: bool) -> Iterator[bytes]:
    """``chunks`` (at least one, each a whole Arrow stream) as one Arrow stream, or Arrow file, in pieces."""
    sink = _Sink()
    writer = None
    for chunk in chunks:
        with pa.ipc.open_stream(pa.py_buffer(chunk)) as reader:
            if writer is None:
                writer = (pa.ipc.new_file if file else pa.ipc.new_stream)(pa.PythonFile(sink, "w"), reader.schema)
            for batch in reader:
                writer.write_batch(batch)
        yield sink.take()
    if writer is not None:
        writer.close()
        yield sink.take()
