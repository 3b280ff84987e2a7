"""Content codings of bodies, both ways; must never end a coder on a broken result: it must look cut short."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame
import zstandard

from kinestream.deploy.store.errors import CANNOT_DECOMPRESS, QueryError

#: in the order we choose for a client that accepts several
CODINGS = ("lz4", "zstd", "gzip", "deflate")


class Encoder(Protocol):
    """What a result body passes through."""

    def encode(self, piece: bytes) -> bytes:
        """Bytes to send for ``piece``, flushed: the client can read them at once."""

    def encode_error(self, piece: bytes) -> bytes:
        """As :meth:`encode`, for the text of a mid-stream error."""

    def end(self) -> bytes:
        """Bytes that end a whole body."""


class Decoder(Protocol):
    """What a request body passes through."""

    def decode(self, piece: bytes) -> bytes:
        """The plain bytes of ``piece``."""

    def end(self) -> bytes:
        """The rest; raises :class:`QueryError` when the body was cut off."""


class Plain:
    """No coding."""

    def encode(self, piece: bytes) -> bytes:
        """``piece``."""
        return piece

    encode_error = decode = encode

    def end(self) -> bytes:
        """Nothing."""
        return b""


class _Lz4Encoder:
    def __init__(self) -> None:
        # auto_flush: else a frame holds rows back, and flush() would end it.
        self._frame = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._begun = b""

    def encode(self, piece: bytes) -> bytes:
        begun = b"" if self._begun else self._frame.begin()
        self._begun = b"yes"
        return begun + self._frame.compress(piece)

    encode_error = encode

    def end(self) -> bytes:
        return (b"" if self._begun else self._frame.begin()) + self._frame.flush()


class _FlushEncoder:
    """zstd and zlib: a compressor whose flush takes a mode."""

    def __init__(self, coder: Any, flush: int, finish: int) -> None:
        self._coder, self._flush, self._finish = coder, flush, finish

    def encode(self, piece: bytes) -> bytes:
        return self._coder.compress(piece) + self._coder.flush(self._flush)

    encode_error = encode

    def end(self) -> bytes:
        return self._coder.flush(self._finish)


class _Decoder:
    """One member after the other: pigz, bgzip and `cat a.gz b.gz` write several, and none may be left unread."""

    def __init__(self, make: Callable[[], Any], name: str) -> None:
        self._make, self._coder, self._name, self._any = make, make(), name, False

    def decode(self, piece: bytes) -> bytes:
        self._any = self._any or bool(piece)
        plain = []
        try:
            while piece:
                if self._coder.eof:
                    self._coder = self._make()
                plain.append(self._coder.decompress(piece))
                piece = self._coder.unused_data if self._coder.eof else b""
        except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as problem:
            raise QueryError(CANNOT_DECOMPRESS, f"the body is no {self._name}: {problem}") from problem
        return b"".join(plain)

    def end(self) -> bytes:
        if self._any and not self._coder.eof:
            raise QueryError(CANNOT_DECOMPRESS, f"the {self._name} body was cut off")
        return b""


def encoder(accepted: str) -> tuple[str, Encoder]:
    """The coding chosen from an Accept-Encoding header ("" = none) and its encoder."""
    wanted = {name.partition(";")[0].strip().lower() for name in accepted.split(",")}
    name = next((coding for coding in CODINGS if coding in wanted), "")
    if name == "lz4":
        return name, _Lz4Encoder()
    if name == "zstd":
        coder = zstandard.ZstdCompressor(level=1).compressobj()
        return name, _FlushEncoder(coder, zstandard.COMPRESSOBJ_FLUSH_BLOCK, zstandard.COMPRESSOBJ_FLUSH_FINISH)
    if name:
        bits = 31 if name == "gzip" else 15
        return name, _FlushEncoder(zlib.compressobj(3, zlib.DEFLATED, bits), zlib.Z_SYNC_FLUSH, zlib.Z_FINISH)
    return "", Plain()


def decoder(name: str) -> Decoder:
    """The decoder of a Content-Encoding; :class:`QueryError` for one we do not know."""
    name = name.strip().lower()
    if name in ("", "identity"):
        return Plain()
    if name == "lz4":
        return _Decoder(lz4.frame.LZ4FrameDecompressor, name)
    if name == "zstd":
        return _Decoder(lambda: zstandard.ZstdDecompressor().decompressobj(), name)
    if name in ("gzip", "deflate"):
        return _Decoder(lambda: zlib.decompressobj(31 if name == "gzip" else 15), name)
    raise QueryError(CANNOT_DECOMPRESS, f"Content-Encoding {name!r}: allowed are {', '.join(CODINGS)}")
