"""What goes to a topic, as a value; encodes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """One message to be delivered; ``subject`` is the episode it is about, if it is about one."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = field(default=())
    subject: str = ""
