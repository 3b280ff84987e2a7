"""What a closed episode leaves for others to find: rows of ``takes``. Decides nothing of the episode itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import xxhash

from kinestream.schemas.content_hash import HashedBlock, values_hash
from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import COMPLETE, TakeRow
from kinestream.streams.quality import Judgement, Print, Twins, Verdict
from kinestream.streams.quality.duplicates import Signature
from kinestream.streams.quality.tasks import Task
from kinestream.streams.quality.twins import exact_key, near_keys

Row: TypeAlias = Callable[..., TakeRow]

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


def take_rows(
    episode: Episode, status: str, judgement: Judgement, take: Print | None, twins: Twins | None
) -> tuple[TakeRow, ...]:
    """What a closed episode files: itself, its values, its motion, and its part in its task's statistics.

    Nothing of a take that is an exact copy. Of one that was withdrawn, or is no part of its task any more: that it is
    gone.
    """
    row = partial(TakeRow, started_ms=episode.start.broker_ms, take=take_key(episode.id),
                  revision=episode.history.revision + 1)  # fmt: skip
    return (*_own_rows(row, episode, take, twins), *_task_rows(row, episode, status, judgement, twins))


def _own_rows(row: Row, episode: Episode, take: Print | None, twins: Twins | None) -> Iterator[TakeRow]:
    own = partial(row, take_key(episode.id), kind="take", episode_id=episode.id)
    if take is None:
        if episode.discarded and episode.reopened:
            yield own(gone=True)
    elif twins is not None and not twins.exact:
        signature = np.rint(take.signature.shape * UNIT).astype(np.int16)
        yield own(digest=take.digest, seconds=take.signature.seconds, signature=signature)
        yield row(exact_key(take), kind="exact")
        for bucket in [] if twins.covered else near_keys(take):
            yield row(bucket, kind="near")


def _task_rows(row: Row, episode: Episode, status: str, judgement: Judgement, twins: Twins | None) -> Iterator[TakeRow]:
    """Whole takes that are no copies and not rejected tell what is usual."""
    now, before = task_of(episode, {}), task_of(episode, episode.history.compared.get("labels", {}))
    features = episode.frontier.judge.features(judgement)
    usable = status == COMPLETE and judgement.verdict != Verdict.REJECT and not (twins and twins.exact)
    if before and episode.reopened and before != now:
        yield row(before.key, kind="task", gone=True, episode_id=episode.id)
    if now and features and usable:
        poses = {f"{name}_pose": pose.astype(np.float32) for name, pose in features.poses.items()}
        yield row(now.key, kind="task", episode_id=episode.id, seconds=features.seconds, metrics=features.metrics,
                  **poses)  # fmt: skip
    elif now and episode.reopened:
        yield row(now.key, kind="task", gone=True, episode_id=episode.id)


def task_of(episode: Episode, labels: Mapping[str, Any]) -> Task | None:
    """The task by these labels, where they are given, else by its own; None without a skill."""
    tenant, skill, model = (labels.get(name, episode.label(name)) for name in ("tenant", "skill", "model_id"))
    return Task(tenant, skill, model, episode.layout.joints) if skill else None


def take_key(episode_id: str) -> int:
    """Where an episode's own row is filed."""
    return xxhash.xxh3_64_intdigest(f"take\0{episode_id}".encode())
