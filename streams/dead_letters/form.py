"""The form of a dead letter: what its headers say, into bytes and back; it opens no connection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kinestream.streams.assembly.values import DeadLetter, Place

#: Most characters of ``text``: a sentence may quote a key, and a key may be a megabyte.
MOST_TEXT: Final = 1000
#: On a record that was sent back: how often it has failed, and where it first did.
ATTEMPTS: Final = "kinestream_attempts"
ORIGIN: Final = "kinestream_origin"
#: Before the name of each header that the record itself came with.
OF_SOURCE: Final = "source."
#: On a marker: the letter (``PARTITION/OFFSET``) that was sent back. A marker has no ``reason`` and no value.
REPLAYED: Final = "replayed"

Header = tuple[str, bytes | None]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ORIGIN = re.compile(r"([^/]+)/(\d{1,10})/(\d{1,19})/(-?\d{1,15})")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where a record stood, and the broker's time of it: two records never share all four."""

    topic: str
    partition: int
    offset: int
    broker_ms: int

    def text(self) -> str:
        """As the header ``origin`` carries it."""
        return f"{self.topic}/{self.partition}/{self.offset}/{self.broker_ms}"


@dataclass(frozen=True, slots=True)
class Letter:
    """What the headers of a dead letter say; ``partition`` and ``offset`` are where the letter itself stands."""

    partition: int
    offset: int
    reason: str
    text: str
    source: Source
    #: where the record first failed: another place than ``source`` once it was sent back
    origin: Source
    schema_id: int
    attempts: int
    key: bytes | None
    #: bytes of a value that no letter could hold, else 0
    omitted: int = 0

    @property
    def id(self) -> str:
        """``PARTITION/OFFSET`` within the topic of dead letters."""
        return f"{self.partition}/{self.offset}"

    @property
    def time(self) -> str:
        """Broker time of the record, ISO, UTC."""
        return iso(self.source.broker_ms)

    @property
    def robot_id(self) -> str:
        """The key as text; a record of ours has its robot's id there."""
        return (self.key or b"").decode(errors="backslashreplace")


def headers_of(letter: DeadLetter, place: Place) -> list[Header]:
    """Headers of the dead letter of a record at ``place``."""
    sent_back = {name: value for name, value in letter.headers if name in (ATTEMPTS, ORIGIN)}
    source = Source(place.topic, place.partition, letter.offset, letter.broker_ms)
    facts = {
        "reason": letter.reason,
        "text": letter.text if len(letter.text) <= MOST_TEXT else letter.text[: MOST_TEXT - 1] + "…",
        "topic": place.topic,
        "partition": place.partition,
        "offset": letter.offset,
        "schema_id": letter.schema_id,
        "time": iso(letter.broker_ms),
        "attempts": _number(sent_back.get(ATTEMPTS)) + 1,
    }
    if origin := _source(sent_back.get(ORIGIN)):
        facts["origin"] = (origin if origin != source else source).text()
    headers: list[Header] = [(name, str(value).encode()) for name, value in facts.items()]
    return headers + [(OF_SOURCE + name, value) for name, value in letter.headers if name not in sent_back]


def headers_back(letter: Letter, headers: Iterable[Header]) -> list[Header]:
    """Headers of the record as it is sent back: its own again, and what its next dead letter has to know."""
    own = [(name.removeprefix(OF_SOURCE), value) for name, value in headers if name.startswith(OF_SOURCE)]
    return [*own, (ATTEMPTS, str(letter.attempts).encode()), (ORIGIN, letter.origin.text().encode())]


def letter_of(partition: int, offset: int, key: bytes | None, headers: Sequence[Header]) -> Letter | None:
    """What a message of the topic of dead letters is; None for a marker, or for what no worker wrote."""
    facts = dict(headers)
    if "reason" not in facts:
        return None
    source = Source(
        _text(facts, "topic"),
        _number(facts.get("partition")),
        _number(facts.get("offset")),
        _milliseconds(_text(facts, "time")),
    )
    return Letter(
        partition,
        offset,
        _text(facts, "reason"),
        _text(facts, "text"),
        source,
        _source(facts.get("origin")) or source,
        _number(facts.get("schema_id"), -1),
        _number(facts.get("attempts"), 1),
        key,
        _number(facts.get("omitted")),
    )


def replayed_source(headers: Sequence[Header]) -> Source | None:
    """Of a marker: the source of the letter that was sent back; None for any other message."""
    return _source(dict(headers).get(REPLAYED))


def iso(ms: int) -> str:
    """Milliseconds since the epoch as ISO text, UTC."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(text: str) -> int:
    try:
        return round((datetime.fromisoformat(text) - _EPOCH) / timedelta(milliseconds=1))
    except (ValueError, TypeError):
        return -1


def _text(facts: Mapping[str, Any], name: str) -> str:
    return (facts.get(name) or b"").decode(errors="replace")


def _number(value: bytes | None, default: int = 0) -> int:
    """A header anyone may have written: what is no number is ``default``."""
    try:
        return int(value) if value is not None and len(value) < 20 else default
    except ValueError:
        return default


def _source(value: bytes | None) -> Source | None:
    found = _ORIGIN.fullmatch((value or b"").decode(errors="replace"))
    return Source(found[1], int(found[2]), int(found[3]), int(found[4])) if found else None
