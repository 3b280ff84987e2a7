"""What a closed episode leaves for others to find: rows of ``takes``. Decides nothing of the episode itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from kinestream.schemas.content_hash import HashedBlock, values_hash
from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import TakeRow
from kinestream.streams.quality import Print, Twins
from kinestream.streams.quality.duplicates import Signature
from kinestream.streams.quality.twins import exact_key, near_keys

#: Length of a stored signature.
UNIT = 32_767
#: Channels that make a take what it is: stamps, velocities and efforts differ when it is recorded again.
_VALUES = ("position", "command")


def print_of(episode: Episode, hashed: Sequence[HashedBlock]) -> Print | None:
    """What others are compared with; None where nothing moved, or the judge does not look at it."""
    signature = episode.frontier.judge.signature
    if signature is None or episode.discarded:
        return None
    measured = [name for name in _VALUES if name in episode.layout.widths]
    order = (episode.start.broker_ms, episode.id)
    return Print(episode.label("tenant"), order, values_hash(measured, hashed), _rounded(signature))


def _rounded(signature: Signature) -> Signature:
    """As it is stored, so that two takes compare alike in memory and out of the store."""
    return Signature(np.rint(signature.shape * UNIT) / UNIT, signature.seconds)


def take_rows(episode: Episode, revision: int, take: Print | None, twins: Twins | None) -> list[TakeRow]:
    """Of a take that another stands for: nothing. Of one that was withdrawn: that it is gone."""
    own = take_key(episode.id)
    key: dict[str, Any] = {"started_ms": episode.start.broker_ms, "take": own, "revision": revision}
    if take is None:
        gone = episode.discarded and episode.history.revision > 0
        return [TakeRow(own, kind="take", gone=True, episode_id=episode.id, **key)] if gone else []
    if twins is None or twins.exact:
        return []
    signature = np.rint(take.signature.shape * UNIT).astype(np.int16)
    near = [] if twins.covered else near_keys(take)
    return [
        TakeRow(own, kind="take", episode_id=episode.id, digest=take.digest, seconds=take.signature.seconds,
                signature=signature, **key),
        TakeRow(exact_key(take), kind="exact", **key),
        *(TakeRow(bucket, kind="near", **key) for bucket in near),
    ]  # fmt: skip


def take_key(episode_id: str) -> int:
    """Where an episode's own row is filed."""
    return xxhash.xxh3_64_intdigest(f"take\0{episode_id}".encode())
