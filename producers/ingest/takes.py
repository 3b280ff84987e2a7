"""What the gateway remembers of a robot's latest takes, for a client that lost an answer; never their frames."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

#: Takes that are remembered, the latest.
_REMEMBERED: Final = 32
OPEN, ENDED, STORED = "OPEN", "ENDED", "STORED"


@dataclass(slots=True)
class TakeNote:
    """One take: ``take`` is the client's own name of it, empty where it gave none."""

    take: str
    episode_id: str
    #: OPEN, ENDED (its end is in the spool) or STORED (the hub's receipt is here)
    state: str = OPEN
    frames: int = 0
    content_hash: str = ""
    outcome: str = ""
    #: of the receipt: COMPLETE ...
    status: str = ""

    def answer(self, kind: str, **more: object) -> dict[str, Any]:
        """As a message to the client."""
        said: dict[str, Any] = {"type": kind, "episode_id": self.episode_id}
        return {**said, **({"take": self.take} if self.take else {}), **more}

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class TakeNotes:
    """The latest takes of one robot, kept as a text in its spool."""

    def __init__(self, text: str = "") -> None:
        self._notes = [TakeNote(**one) for one in json.loads(text or "[]")]

    def __iter__(self) -> Any:
        return iter(self._notes)

    def text(self) -> str:
        """For the spool."""
        return json.dumps([note.to_json() for note in self._notes])

    def add(self, note: TakeNote) -> None:
        """The newest."""
        self._notes = [*self._notes, note][-_REMEMBERED:]

    def left_open(self, episode_id: str) -> TakeNote | None:
        """After a restart: the take that is open, where ``episode_id`` says so; open ones that are not never began."""
        self._notes = [note for note in self._notes if note.state != OPEN or note.episode_id == episode_id]
        if not episode_id:
            return None
        note = self.of(episode_id)
        if note is None:
            note = TakeNote("", episode_id)
            self.add(note)
        note.state = OPEN
        return note

    def of(self, episode_id: str) -> TakeNote | None:
        """By the id of the episode."""
        return next((note for note in self._notes if note.episode_id == episode_id), None)

    def named(self, take: str) -> TakeNote | None:
        """By the client's own name."""
        return next((note for note in reversed(self._notes) if take and note.take == take), None)

    def forget(self, note: TakeNote) -> None:
        """One that never had a frame."""
        self._notes.remove(note)
