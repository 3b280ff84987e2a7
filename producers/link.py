"""What a robot and its episodes share: identity of this boot, declared channels, codec and delivery; no behaviour."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from kinestream.producers.delivery import Delivery
from kinestream.schemas.codec import Codec
from kinestream.schemas.layout import Channel


@dataclass(frozen=True, slots=True)
class Link:
    """One boot of one robot on one topic; ``lock`` orders everything its episodes send."""

    tenant: str
    robot_id: str
    model_id: str
    boot_id: str
    joints: tuple[str, ...]
    declared: tuple[Channel, ...]
    codec: Codec
    delivery: Delivery
    #: frames and bytes in a chunk, at most
    chunk_frames: int
    chunk_bytes: int
    lock: threading.RLock = field(default_factory=threading.RLock)
