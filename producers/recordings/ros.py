"""JointState messages of any ROS recording as takes: clocks, commands, topics; never a container format."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.columns import library
from kinestream.producers.recordings.damaged import damaged
from kinestream.producers.recordings.take import RADIANS, Choices, Clock, Hint, Role, Signal, Take, Values
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.frames import Int64

JOINT_STATE: Final = "sensor_msgs/msg/JointState"
TEXT: Final = "std_msgs/msg/String"
#: Parts of the names of topics that hold what a robot is told to do.
_COMMANDS: Final = ("cmd", "command", "target", "action", "desired", "goal", "leader", "master")
#: Between a topic and the first joint of one of several sets on it.
PART: Final = ":"
#: Bytes that some serialisers leave behind empty arrays: they count an alignment that nothing needs.
_SLACK: Final = (4, 8)


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``wire`` is cdr or ros1."""

    topic: str
    type: str
    wire: str
    log_ns: int
    raw: bytes
    #: the file of a recording of several; empty = the recording is the file
    file: str = ""


@dataclass(slots=True, eq=False)
class JointTopic:
    """The messages of one topic; ``log_ns`` and ``stamp_ns`` one a message."""

    topic: str
    names: tuple[str, ...]
    log_ns: list[int] = field(default_factory=list)
    stamp_ns: list[int] = field(default_factory=list)
    rows: dict[Role, list[Any]] = field(default_factory=dict)

    @property
    def commands(self) -> bool:
        """Whether the topic's name says that it holds what the robot is told to do."""
        return is_command(self.topic)


def is_command(topic: str) -> bool:
    """Whether a topic's name says that it holds what the robot is told to do."""
    return any(part in topic.lower() for part in _COMMANDS)


class RosRecording:
    """The JointState topics of a recording as a :class:`Source`; ``left_out`` are its other topics."""

    def __init__(
        self, path: Path, form: str, messages: Iterator[Message], others: Collection[str], choices: Choices
    ) -> None:
        self.name, self.format = path.name, form
        topics, self.hint = _collect(path, messages)
        self._others = tuple(sorted(others))  # a reader of a stream knows them once it is at its end
        self._state = _state_of(path, topics, self._others, choices.topic)
        self._beside = [t for t in topics if t is not self._state]
        log = np.array(self._state.log_ns, np.int64)
        far = np.diff(log) > choices.split_s * 1e9 if choices.split_s else np.zeros(len(log) - 1, bool)
        self._split = f"a gap of more than {choices.split_s:g} s begins another episode" if far.any() else ""
        self._bounds = [0, *(np.flatnonzero(far) + 1).tolist(), len(log)]
        self.declared = self.present = tuple(range(len(self._bounds) - 1))
        self.frames = len(log)

    def takes(self) -> Iterator[Take]:
        """The whole recording, or its parts between the gaps a person named."""
        for number, (first, end) in enumerate(zip(self._bounds, self._bounds[1:], strict=False)):
            yield self._take(number, slice(first, end))

    def _take(self, number: int, part: slice) -> Take:
        state, odd = self._state, []
        told = [self._split] if self._split else []
        log = np.array(state.log_ns[part], np.int64)
        signals = state_signals(state, part)
        for beside in self._best_first():
            more, how, gaps = held_beside(beside, log)
            told.append(how)
            odd += gaps
            signals += more
        clocks, lag, clock_odd = _clocks(state, part)
        signals += lag
        parts = len(self._bounds) > 2
        return Take(
            source=f"{self.name}#{number}" if parts else self.name,
            signals=tuple(own_names(signals)),
            clocks=clocks,
            conversions=tuple(told),
            oddities=(*clock_odd, *odd),
            left_out=self._others,
        )

    def _best_first(self) -> list[JointTopic]:
        """The command that shares most joints with the state, then the others."""
        return sorted(self._beside, key=lambda t: -len(set(t.names) & set(self._state.names)))


def _collect(path: Path, messages: Iterator[Message]) -> tuple[list[JointTopic], Hint]:
    topics: dict[str, JointTopic] = {}
    hint = ""
    decode = Decoder()
    for message in messages:
        where = path / message.file
        try:
            decoded = decode(message)
        except Exception as problem:  # damaged bytes raise anything: here it is known where they stand
            raise damaged(where, f"message of {message.topic}", problem) from problem
        if message.type == TEXT:
            hint = robot_name(message.topic, str(decoded.data)) or hint
        else:
            _add(where, topics, message, decoded)
    return list(topics.values()), Hint(hint)


class Decoder:
    """Decodes messages with the definitions of their ROS; the types read here never changed between releases."""

    def __init__(self) -> None:
        self._rosbags = library("rosbags.typesys")
        self._stores: dict[str, Any] = {}

    def __call__(self, message: Message) -> Any:
        """The message as an object with the fields of its type."""
        store = self._store(message.wire)
        if message.wire == "ros1":
            return store.deserialize_ros1(message.raw, message.type)
        for slack in (0, *_SLACK):
            try:
                return store.deserialize_cdr(message.raw[: len(message.raw) - slack], message.type)
            except library("rosbags.serde").SerdeError:
                if slack == _SLACK[-1]:
                    raise
        return None

    def _store(self, wire: str) -> Any:
        stores = self._rosbags.Stores
        if wire not in self._stores:
            self._stores[wire] = self._rosbags.get_typestore(
                stores.ROS1_NOETIC if wire == "ros1" else stores.ROS2_HUMBLE
            )
        return self._stores[wire]


def _add(path: Path, topics: dict[str, JointTopic], message: Message, decoded: Any) -> None:
    names = tuple(decoded.name)
    held = _held(path, topics, message, names)
    rows: dict[Role, Any] = {"position": decoded.position, "velocity": decoded.velocity, "effort": decoded.effort}
    there = {role: np.asarray(values, np.float64) for role, values in rows.items() if len(values)}
    if held.log_ns and (set(there) != set(held.rows) or any(len(v) != len(held.rows[r][0]) for r, v in there.items())):
        raise RecordingError(
            f"{path}: messages of {message.topic} do not all measure the same; it is no one signal:"
            " choose another topic with --topic, or copy the file anew if it is damaged"
        )
    if names and any(len(values) != len(names) for values in there.values()):
        raise RecordingError(
            f"{path}: a message of {message.topic} names {len(names)} joints and measures"
            f" {', '.join(str(len(v)) for v in there.values())} values; it is damaged or no joint state: copy it anew"
        )
    for role, values in there.items():
        held.rows.setdefault(role, []).append(values)
    held.log_ns.append(message.log_ns)
    held.stamp_ns.append(decoded.header.stamp.sec * 10**9 + decoded.header.stamp.nanosec)


def _held(path: Path, topics: dict[str, JointTopic], message: Message, names: tuple[str, ...]) -> JointTopic:
    """Where messages of a topic go: several nodes may publish on one, each its own joints (an arm, its gripper).

    Sets that share no joint are topics of their own, named by their first joint behind a colon; others are damage.
    """
    of_topic = topics.get(message.topic)
    if of_topic is not None and of_topic.names == names:
        return of_topic
    several = [t for key, t in topics.items() if key.split(PART)[0] == message.topic]
    for one in several:
        if one.names == names:
            return one
        if not names or not one.names or set(names) & set(one.names):
            raise RecordingError(
                f"{path}: a message of {message.topic}, logged at {message.log_ns} ns, names"
                f" {_other(names, one.names)}; sets of joints on one topic share none: if no robot"
                " sent that, the file is damaged (copy it anew), else choose another topic with --topic"
            )
    key = f"{message.topic}{PART}{names[0]}" if several else message.topic
    if len(several) == 1:
        several[0].topic = f"{message.topic}{PART}{several[0].names[0]}"
    topics[key] = JointTopic(key, names)
    return topics[key]


def _other(names: Sequence[str], before: Sequence[str]) -> str:
    """In what the joints of a message are others than those of the messages before, in words."""
    if len(names) != len(before):
        return f"{len(names)} joints, those before it {len(before)}"
    new, old = next(pair for pair in zip(names, before, strict=True) if pair[0] != pair[1])
    return f"the joint {new!r} where those before it name {old!r}"


def _state_of(path: Path, topics: list[JointTopic], others: Sequence[str], chosen: str) -> JointTopic:
    states = [t for t in topics if (t.topic == chosen if chosen else not t.commands)]
    states = states or ([t for t in topics if t.rows] if not chosen and len(topics) == 1 else [])
    if len(states) == 1 and states[0].rows:
        return states[0]
    if len(states) > 1:
        raise UndecidedError(
            f"{path} has {len(states)} topics of joint states; choose one with --topic"
            f" {' or --topic '.join(t.topic for t in states)}",
            "topic",
            tuple(t.topic for t in states),
        )
    found = ", ".join([t.topic for t in topics] + list(others)[:6])
    raise RecordingError(
        f"{path} holds no joint states ({JOINT_STATE}{f' on {chosen}' if chosen else ''}),"
        f" {f'but {found}' if found else 'and no other message'}; JointState is read as cdr or ros1: record that topic,"
        " or write its values as CSV (docs/formats.md)"
    )


def state_signals(state: JointTopic, part: slice) -> list[Signal]:
    """What the topic of the state measures, in the units of ROS (REP 103)."""
    return [
        Signal(role, state.topic, RADIANS[role], state.names, _matrix(rows[part])) for role, rows in state.rows.items()
    ]


def held_beside(beside: JointTopic, log: Int64) -> tuple[list[Signal], str, list[str]]:
    """The values of another topic at the frames of the state: the last that was logged before each, or at it."""
    of = np.array(beside.log_ns, np.int64)
    order = np.argsort(of, kind="stable")
    last = np.searchsorted(of[order], log, side="right") - 1
    signals = []
    for role, rows in beside.rows.items():
        values = _matrix(rows)[order][np.maximum(last, 0)]
        values[last < 0] = np.nan
        to = "command" if role == "position" and beside.commands and beside.names else "channel"
        unit = RADIANS[role] if beside.names else ""
        signals.append(Signal(to, _short(beside.topic, role), unit, beside.names, values))  # type: ignore[arg-type]
    used = np.unique(last[last >= 0])
    unused = int(((of >= log[0]) & (of <= log[-1])).sum()) - int((of[order][used] >= log[0]).sum())
    how = f"{beside.topic}: the last message logged up to each frame; {unused} messages between frames left out"
    early = int((last < 0).sum())
    gaps = [f"{early} frames lie before the first message of {beside.topic}: NaN there"] if early else []
    return signals, how, gaps


def _short(topic: str, role: str) -> str:
    name = re.sub(r"\W+", "_", topic.strip("/").rsplit("/", 1)[-1])
    return name if role == "position" else f"{name}_{role}"


def own_names(signals: Sequence[Signal]) -> Iterator[Signal]:
    """One command only, that of most joints: those of the other topics are channels."""
    commanded = False
    for signal in signals:
        if signal.role == "command" and commanded:
            yield Signal("channel", signal.name, signal.unit, signal.elements, signal.values)
        else:
            yield signal
        commanded = commanded or signal.role == "command"


def _clocks(state: JointTopic, part: slice) -> tuple[tuple[Clock, ...], list[Signal], list[str]]:
    """The robot's own stamps where it set them, else those of the log; the other is kept as how far it lies behind."""
    log, stamp = np.array(state.log_ns[part], np.int64), np.array(state.stamp_ns[part], np.int64)
    logged = Clock("log time", log, 1, True, "t_ns = log time of the message")
    if (stamp <= 0).any():
        zero = int((stamp <= 0).sum())
        return (logged,), [], [f"{zero} of {len(stamp)} header stamps are zero: the log's time is used"]
    stamped = Clock("header stamp", stamp, 1, True, "t_ns = header.stamp of the message")
    lag = log - stamp
    if (lag == lag[0]).all():
        return (stamped, logged), [], []
    told = f"log_lag = (log time - header stamp) - {int(lag[0])} ns, s: the other clock"
    stamped = Clock("header stamp", stamp, 1, True, f"{stamped.told}; {told}")
    values = ((lag - lag[0]) * 1e-9).reshape(-1, 1)
    return (stamped, logged), [Signal("channel", "log_lag", "s", (), values)], []


def robot_name(topic: str, text: str) -> str:
    """What a text on a topic of the robot's (its info, its URDF) calls it; empty = nothing."""
    if topic.endswith("robot_info"):
        return "" if text.strip().lower() in ("", "unknown") else text.strip()[:64]
    found = re.search(r"<robot\b[^>]*\bname\s*=\s*[\"']([^\"']{1,64})[\"']", text)
    return found[1] if found else ""


def _matrix(rows: Sequence[Any]) -> Values:
    return np.array(rows, np.float64)


def wanted(topic: str, kind: str) -> bool:
    """Whether messages of a topic are read: joint states, and the two texts that name a robot."""
    return kind == JOINT_STATE or (kind == TEXT and topic.endswith(("robot_info", "robot_description")))
