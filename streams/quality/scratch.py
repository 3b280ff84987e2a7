"""Working arrays that all judges of a thread share: a fetch allocates nothing. Never holds state between calls."""

from __future__ import annotations

from threading import local

import numpy as np

#: most frames judged in one piece: keeps the arrays in the processor's cache and integer sums below 2^63
LARGEST = 512
#: sizes of fetch a bench remembers views for
_REMEMBERED = 512

_thread = local()


class Bench:
    """Views for n frames of J joints; row 0 of ``rows`` and ``stamps`` is the frame before them."""

    __slots__ = (
        "deviation",
        "period",
        "rows",
        "rows_head",
        "rows_tail",
        "stamps",
        "stamps_head",
        "stamps_tail",
        "step",
    )

    def __init__(self, shop: Workshop, n: int) -> None:
        self.rows = shop.rows[: n + 1]
        self.rows_head = shop.rows[:n]
        self.rows_tail = shop.rows[1 : n + 1]
        self.step = shop.step[:n]
        self.stamps = shop.stamps[: n + 1]
        self.stamps_head = shop.stamps[:n]
        self.stamps_tail = shop.stamps[1 : n + 1]
        self.period = shop.period[:n]
        self.deviation = shop.deviation[:n]


class Workshop:
    """Arrays for J joints: ``rows`` float32 (n+1, J), stamps and periods int64, and the flags of the quick look."""

    __slots__ = (
        "bench",
        "deviation",
        "highest",
        "lowest",
        "ok",
        "ok_bytes",
        "period",
        "rows",
        "stamps",
        "step",
        "widest",
    )

    def __init__(self, joints: int) -> None:
        self.rows = np.zeros((LARGEST + 1, joints), np.float32)
        self.step = np.zeros((LARGEST, joints), np.float32)
        self.stamps = np.zeros(LARGEST + 1, np.int64)
        self.period = np.zeros(LARGEST, np.int64)
        self.deviation = np.zeros(LARGEST, np.int64)
        self.highest = np.zeros(joints, np.float32)
        self.lowest = np.zeros(joints, np.float32)
        self.widest = np.zeros(joints, np.float32)
        # `0 in bytes` is ten times quicker than `.all()` on so few flags
        self.ok_bytes = bytearray(2 * joints)
        self.ok = np.frombuffer(self.ok_bytes, np.bool_).reshape(2, joints)
        self.bench: dict[int, Bench] = {}

    def for_frames(self, n: int) -> Bench:
        """The views for n <= LARGEST frames."""
        bench = self.bench.get(n)
        if bench is None:
            bench = self.bench[n] = Bench(self, n)
        return bench


def workshop(joints: int) -> Workshop:
    """The calling thread's arrays for J joints."""
    shops: dict[int, Workshop] | None = getattr(_thread, "shops", None)
    if shops is None:
        shops = _thread.shops = {}
    shop = shops.get(joints)
    if shop is None:
        if len(shops) >= _REMEMBERED:
            shops.clear()
        shop = shops[joints] = Workshop(joints)
    return shop
