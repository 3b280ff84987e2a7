"""Identities a robot mints: UUIDv7 episode ids; never reads the wall clock for anything but their order."""

from __future__ import annotations

import secrets
import threading
import time
import uuid

_COUNTER_MAX = 0xFFF

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> str:
    """A UUID version 7 (RFC 9562, 5.7), canonical text; strictly rising within a process.

    The 12 bits after the version are a counter within the millisecond, seeded at random with its top bit clear
    (RFC 9562, 6.2, method 1); a clock that steps back is not followed.
    """
    global _last_ms, _counter
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _counter = now_ms, secrets.randbits(11)
        elif _counter < _COUNTER_MAX:
            _counter += 1
        else:
            _last_ms, _counter = _last_ms + 1, secrets.randbits(11)
        head = (_last_ms & (1 << 48) - 1) << 80 | 7 << 76 | _counter << 64
    return str(uuid.UUID(int=head | 0b10 << 62 | secrets.randbits(62)))
