"""Where a key lies: Apache Kafka's murmur2, for clients that look for a partition instead of writing to one."""

from __future__ import annotations

_MASK, _M = 0xFFFFFFFF, 0x5BD1E995


def murmur2(key: bytes) -> int:
    """Kafka's ``Utils.murmur2`` (Appleby's MurmurHash2 with Kafka's seed), unsigned."""
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    tail = key[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of a key, as every client of the contract chooses it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
