"""Bytes into lines, of bounded length; what is longer is thrown away up to its end and told once; decodes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kinestream.schemas.errors import IngestError


class Lines:
    """Cuts a stream at each newline; holds less than ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._part = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | IngestError]:
        """The lines that are whole now, without their newline; an error stands for one that was too long."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            found = self._end(line)
            if found is not None:
                yield found
        if self._skipping or len(self._part) + len(rest) > self._most:
            self._skipping = True
            self._part.clear()
        else:
            self._part += rest

    def last(self) -> Iterator[bytes | IngestError]:
        """What stands behind the last newline, at the end of the stream."""
        found = self._end(b"")
        if found is not None:
            yield found

    def _end(self, line: bytes) -> bytes | IngestError | None:
        too_long, self._skipping = self._skipping or len(self._part) + len(line) > self._most, False
        whole = bytes(self._part) + line
        self._part.clear()
        if too_long:
            return IngestError(
                "TOO_LONG",
                f"a line of more than {self._most:,} bytes was left out: send fewer frames a line, or raise"
                " KINESTREAM_INGEST_LINE_BYTES",
            )
        return whole.strip() or None
