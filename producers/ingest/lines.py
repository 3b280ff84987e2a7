"""Bytes into lines, of bounded length; what is longer is told at once and left out up to its end; decodes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kinestream.schemas.errors import IngestError


class Lines:
    """Cuts a stream at each newline; holds less than ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._part = bytearray()
        self._skipping = False
        #: bytes thrown away of a line that has not ended yet
        self.skipped = 0

    def feed(self, data: bytes) -> Iterator[bytes | IngestError]:
        """The lines that are whole now, without their newline; an error stands for one that is too long."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            found = self._end(line)
            if found is not None:
                yield found
        if self._skipping or len(self._part) + len(rest) > self._most:
            if not self._skipping:
                yield self._too_long()
            self._skipping = True
            self.skipped += len(self._part) + len(rest)
            self._part.clear()
        else:
            self._part += rest

    def last(self) -> Iterator[bytes | IngestError]:
        """What stands behind the last newline, at the end of the stream."""
        found = self._end(b"")
        if found is not None:
            yield found

    def _end(self, line: bytes) -> bytes | IngestError | None:
        told, self._skipping, self.skipped = self._skipping, False, 0
        whole = bytes(self._part) + line
        self._part.clear()
        if told:
            return None
        return self._too_long() if len(whole) > self._most else whole.strip() or None

    def _too_long(self) -> IngestError:
        return IngestError(
            "TOO_LONG",
            f"a line of more than {self._most:,} bytes is left out: end each line with a newline, send fewer frames a"
            " line, or raise KINESTREAM_INGEST_LINE_BYTES",
        )
