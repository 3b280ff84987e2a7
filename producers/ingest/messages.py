"""One line of a robot's as a message: every field known and of its kind, or refused; knows no robot and no state."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from kinestream.producers.episode import MARK_KINDS, OUTCOMES
from kinestream.producers.ingest.complaints import Names, short
from kinestream.producers.ingest.values import Frames, read_frames, seconds
from kinestream.producers.intake import ChannelLike
from kinestream.producers.labels import EpisodeLabels, Labels
from kinestream.schemas.errors import IngestError
from kinestream.schemas.layout import Channel

#: Version of the protocol (docs/ingest.md).
PROTOCOL: Final = 1


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the robot is and what it may measure."""

    robot_id: str
    model_id: str
    joints: tuple[str, ...] | None = None
    channels: Mapping[str, ChannelLike] = field(default_factory=dict)
    rate_hz: float = 0.0
    #: it wants to hear what the hub finds
    findings: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """A take begins; ``take`` is the client's own name of it, so that a repeated start begins no second one."""

    take: str
    labels: EpisodeLabels


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with the open take."""

    episode_id: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark before the next frame, or before frame ``seq``."""

    kind: str
    label: str
    note: str
    t: int | float | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class End:
    """The take is over."""

    outcome: str
    error_cause: str
    restorable: bool
    n_total: int | None
    content_hash: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The robot is there."""


Message: TypeAlias = Hello | Start | Resume | Frames | Mark | End | Ping

#: Labels that are texts.
_TEXTS: Final = tuple(field.name for field in dataclass_fields(Labels) if field.type == "str")
_MOST_HZ: Final = 1e6


def _unnamed(channel: str) -> Sequence[str]:
    return ()


def read_message(line: bytes, names: Names = _unnamed) -> Message:
    """Of one line; ``names`` gives the names of a channel's elements, for the text of what is wrong with a value.

    Raises :class:`IngestError` (NOT_JSON, UNKNOWN_TYPE, UNKNOWN_FIELD, BAD_VALUE, LAYOUT).
    """
    try:
        said = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise IngestError(
            "NOT_JSON", f"the line {_cut(line)} is no JSON ({problem}): send one JSON object a line, in UTF-8"
        ) from problem
    if not isinstance(said, dict):
        raise IngestError("NOT_JSON", f'the line {_cut(line)} is no JSON object: send {{"type": ...}}')
    kind = said.pop("type", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise IngestError("UNKNOWN_TYPE", f"type {short(kind)}: allowed are {', '.join(_READERS)}")
    _check_fields(str(kind), said)
    return reader(_Fields(str(kind), said, names, b"true" in line or b"false" in line))


def may_hold_frames(line: bytes) -> bool:
    """Whether a refused line may have been meant as frames: one that cannot be read, or is no other word."""
    try:
        said = json.loads(line)
        kind = said["type"] if isinstance(said, dict) and isinstance(said.get("type"), str) else ""
    except (ValueError, RecursionError):
        return True
    if kind in _READERS:
        return _READERS[kind] is _frames
    return not isinstance(said, dict) or "position" in said or "channels" in said


def _check_fields(kind: str, said: Mapping[str, Any]) -> None:
    """Before anything else: a field that is misspelt is missed where it is needed, and that tells nobody why."""
    allowed = FIELDS[kind]
    unknown = [name for name in said if name not in allowed]
    if unknown:
        near = [f"{one} is perhaps {hit[0]}" for one in unknown if (hit := get_close_matches(one, allowed, 1))]
        told = f" ({', '.join(near)})" if near else ""
        raise IngestError(
            "UNKNOWN_FIELD",
            f"{kind}: unknown fields {', '.join(map(_shown, unknown))}{told}; allowed are type, {', '.join(allowed)}",
        )


def _shown(name: str) -> str:
    return name if len(name) <= 40 else name[:37] + "..."


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON: send null where there is no value")


def _cut(line: bytes) -> str:
    return repr(line[:40])[1:] + ("..." if len(line) > 40 else "")


class _Fields:
    """The fields of one message, taken out one by one."""

    def __init__(self, kind: str, said: dict[str, Any], elements: Names, truths: bool) -> None:
        """``truths``: there may be a true or false among them, which numpy would take for a number."""
        self.kind, self._said, self.elements, self.truths = kind, said, elements, truths

    @property
    def names(self) -> frozenset[str]:
        """Those that are there and were not taken yet."""
        return frozenset(self._said)

    def take(self, name: str, default: Any, allowed: str, fits: Callable[[Any], bool]) -> Any:
        """Field ``name``; raises BAD_VALUE unless it ``fits``."""
        if name not in self._said:
            return default
        value = self._said.pop(name)
        if not fits(value):
            raise IngestError("BAD_VALUE", f"{self.kind}: {name}={short(value)}: give {allowed}")
        return value

    def text(self, name: str, default: str = "", longest: int = 10_000) -> str:
        """A text."""
        fits = lambda v: _is_text(v) and len(v) <= longest  # noqa: E731
        return str(self.take(name, default, f"a text of at most {longest:,} characters", fits))

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """One of some words."""
        return str(self.take(name, default, f"one of {', '.join(allowed)}", lambda v: v in allowed))

    def number(self, name: str) -> Any:
        """A number, or None."""
        return self.take(name, None, "a number", lambda v: v is None or _is_number(v))

    def rate(self, name: str) -> float:
        """A number from 0 on."""
        fits = lambda v: _is_number(v) and 0 <= v <= _MOST_HZ  # noqa: E731
        return float(self.take(name, 0.0, "a number from 0 on", fits))

    def yes(self, name: str, *, default: bool) -> bool:
        """True or false."""
        return bool(self.take(name, default, "true or false", lambda v: isinstance(v, bool)))

    def count(self, name: str) -> int | None:
        """A whole number from 0 on, or None."""
        fits = lambda v: v is None or (type(v) is int and 0 <= v < 1 << 63)  # noqa: E731
        found: int | None = self.take(name, None, "a whole number from 0 on", fits)
        return found

    def rest(self) -> dict[str, Any]:
        """All other fields."""
        return self._said


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    """JSON may hold halves of a surrogate pair, which no UTF-8 can."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value if not value.isascii())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _hello(fields: _Fields) -> Hello:
    fields.take("protocol", PROTOCOL, f"{PROTOCOL}, the one there is", lambda v: v == PROTOCOL)
    joints = fields.take("joints", None, "a list of names", lambda v: v is None or _is_texts(v))
    by_name = lambda v: isinstance(v, dict) and all(map(_is_text, v))  # noqa: E731
    channels = fields.take("channels", {}, "an object of channels by name", by_name)
    hello = Hello(
        robot_id=fields.text("robot_id"),
        model_id=fields.text("model_id"),
        joints=None if joints is None else tuple(joints),
        channels={name: _channel(name, like) for name, like in channels.items()},
        rate_hz=fields.rate("rate_hz"),
        findings=fields.yes("findings", default=False),
        token=fields.text("token"),
    )
    for name in ("robot_id", "model_id"):
        if not getattr(hello, name):
            raise IngestError("BAD_VALUE", f"hello: {name} is missing or empty: give a text")
    return hello


def _channel(name: str, like: Any) -> ChannelLike:
    """A width, the names of the elements, or an object of width, unit and elements."""
    if type(like) is int or _is_texts(like):
        return like if type(like) is int else tuple(like)
    if isinstance(like, dict) and set(like) <= {"width", "unit", "elements"}:
        elements = like.get("elements", [])
        width = like.get("width", len(elements) if isinstance(elements, list) else 0)
        if type(width) is int and _is_text(like.get("unit", "")) and _is_texts(elements):
            return Channel(name, width, like.get("unit", ""), tuple(elements))
    raise IngestError(
        "BAD_VALUE",
        f"hello: channel {name}={short(like)}: give a width, a list of element names, or an object of width, unit"
        " and elements",
    )


def _start(fields: _Fields) -> Start:
    take, given = fields.text("take", longest=200), fields.names
    labels: dict[str, Any] = {name: fields.text(name) for name in _TEXTS}
    for name in ("subtasks", "conversions"):
        labels[name] = fields.take(name, [], "a list of texts", _is_texts)
    labels["nominal_rate_hz"] = fields.rate("nominal_rate_hz")
    labels["source_started_at_ns"] = fields.count("source_started_at_ns")
    labels["stamp_resolution_ns"] = fields.count("stamp_resolution_ns") or 0
    return Start(take, EpisodeLabels(**{name: labels[name] for name in labels if name in given}))  # type: ignore[typeddict-item]


def _resume(fields: _Fields) -> Resume:
    return Resume(fields.text("episode_id"))


def _mark(fields: _Fields) -> Mark:
    kind = fields.one_of("kind", MARK_KINDS, "NOTE")
    label, note = fields.text("label"), fields.text("note")
    t, t_ns = fields.number("t"), fields.count("t_ns")
    return Mark(kind, label, note, t_ns if t is None else seconds(t), fields.count("seq"))


def _end(fields: _Fields) -> End:
    return End(
        fields.one_of("outcome", OUTCOMES, "UNKNOWN"),
        fields.text("error_cause"),
        fields.yes("restorable", default=True),
        fields.count("n_total"),
        fields.text("content_hash"),
    )


def _frames(fields: _Fields) -> Frames:
    seq = fields.count("seq")
    return read_frames(seq, fields.rest(), fields.elements, many=fields.kind == "frames", truths=fields.truths)


_FRAME: Final = ("seq", "t", "t_ns", "position", "velocity", "effort", "command", "channels")
#: Fields of each message beside ``type``.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "hello": ("robot_id", "model_id", "joints", "channels", "rate_hz", "findings", "token", "protocol"),
    "start": ("take", *EpisodeLabels.__annotations__),
    "resume": ("episode_id",),
    "frame": _FRAME,
    "frames": _FRAME,
    "mark": ("kind", "label", "note", "t", "t_ns", "seq"),
    "end": ("outcome", "error_cause", "restorable", "n_total", "content_hash"),
    "ping": (),
}
_READERS: Final[dict[str, Callable[[_Fields], Message]]] = {
    "hello": _hello,
    "start": _start,
    "resume": _resume,
    "frame": _frames,
    "frames": _frames,
    "mark": _mark,
    "end": _end,
    "ping": lambda _: Ping(),
}
