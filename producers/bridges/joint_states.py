"""JointState messages, one at a time, to frames: the mapping of recordings, planned once; no ROS, no clock, no I/O.

The plan is made by sending the *numbers* of the columns through the very normaliser that reads recordings: what comes
out says where each value of a frame comes from. So a robot that is bridged and its replayed bag give the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.identify import Guess, identify, named
from kinestream.producers.recordings.normalise import Normalised, Normaliser, joint_names, layout
from kinestream.producers.recordings.ros import PART, JointTopic, held_beside, own_names, robot_name, state_signals
from kinestream.producers.recordings.take import Choices, Hint, Role, Signal
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import Float32
from kinestream.schemas.layout import JOINT_CHANNELS, Channel

#: Roles of a JointState's arrays, in the message's order.
_ROLES: Final[tuple[Role, ...]] = ("position", "velocity", "effort")
LAG: Final = "log_lag"

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BridgedFrame:
    """One frame, as ``Episode.send`` takes it: each array float32 (width,), None where it is not measured."""

    t_ns: int
    position: Float32 | None
    velocity: Float32 | None
    effort: Float32 | None
    command: Float32 | None
    channels: Mapping[str, Float32]

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``Episode.send``."""
        joints = {name: getattr(self, name) for name in JOINT_CHANNELS}
        return {"t": self.t_ns, **joints, "channels": self.channels}


@dataclass(slots=True, eq=False)
class _Topic:
    """What the first message of a topic said, and the values that hold now."""

    name: str
    names: tuple[str, ...]
    widths: dict[Role, int]
    values: dict[Role, Float64] = field(default_factory=dict)

    def numbered(self, first: int) -> JointTopic:
        """As a recording of one message, whose values are numbers from ``first`` on."""
        rows: dict[Role, list[Any]] = {}
        for role, width in self.widths.items():
            rows[role] = [np.arange(first, first + width, dtype=np.float64)]
            first += width
        return JointTopic(self.name, self.names, [0], [0], rows)

    @property
    def width(self) -> int:
        return sum(self.widths.values())

    def forget(self) -> None:
        """Nothing holds until the next message."""
        self.values = {role: np.full(width, np.nan) for role, width in self.widths.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    guess: Guess
    normalised: Normalised
    #: by channel: numbers of the columns, of all topics' values one after the other
    columns: dict[str, npt.NDArray[np.int64]]


class JointStateBridge:
    """Maps the messages of one topic of joint states, and of topics beside it (commands), to frames.

    ``model``: a described model's id, or ``provisional:NAME``; empty = by the joints' names, where only one model has
    them. Every topic is learned from its first message before the first frame. Raises :class:`LayoutError` for a
    message that does not fit, and :class:`RecordingError` with the choices where the robot would be a guess.
    Where several nodes publish on one topic, each its own joints, ``/joint_states:joint1`` is what comes from the one
    whose first joint that is, as in a recording; messages nobody asked for so are not heard.
    """

    def __init__(self, state: str, beside: Sequence[str] = (), model: str = "") -> None:
        self._state, self._beside, self._model = state, tuple(beside), model
        self._parted = {name.split(PART)[0] for name in (state, *beside) if PART in name}
        self._topics: dict[str, _Topic] = {}
        self._made: _Plan | None = None
        self._hint = Hint()
        self._stamped: bool | None = None
        self._lag_ns = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """Topics that have said nothing yet: no frame can be mapped before they have."""
        return tuple(name for name in (self._state, *self._beside) if name not in self._topics)

    @property
    def heard(self) -> tuple[str, ...]:
        """The topics to subscribe to."""
        return tuple(dict.fromkeys(name.split(PART)[0] for name in (self._state, *self._beside)))

    def _asked(self, topic: str, message: Any) -> str:
        """By which name a message was asked for; empty = it was not."""
        if topic not in self._parted:
            return topic
        name = f"{topic}{PART}{message.name[0]}" if len(message.name) else ""
        return name if name in (self._state, *self._beside) else ""

    def begin(self) -> None:
        """A take begins: its first frame decides which clock stamps it; the commands in force hold on."""
        self._stamped = None

    def robot(self) -> dict[str, Any]:
        """``model_id``, ``joints`` and ``channels``, as ``Robot`` takes them."""
        done = self._plan.normalised
        channels = {channel.name: channel for channel in (*done.channels, Channel(LAG, 1, "s"))}
        return {"model_id": self._plan.guess.model_id, "joints": done.joints, "channels": channels}

    @property
    def conversions(self) -> tuple[str, ...]:
        """Every step between the messages and the frames, in words."""
        return self._plan.normalised.conversions

    def describe(self, topic: str, text: str) -> None:
        """What the robot says of itself, on a topic of its info or its URDF: its name helps to tell which it is."""
        self._hint = Hint(robot_name(topic, text) or self._hint.name)

    def learn(self, topic: str, message: Any) -> None:
        """The first message of a topic: what it names and measures."""
        topic = self._asked(topic, message)
        if not topic or topic in self._topics:
            return
        widths = {role: len(getattr(message, role)) for role in _ROLES if len(getattr(message, role))}
        names = tuple(message.name)
        if topic == self._state and not widths:
            raise LayoutError(f"{topic}: its first message measures nothing: send position, velocity or effort")
        wrong = {role: width for role, width in widths.items() if names and width != len(names)}
        if wrong:
            raise LayoutError(f"{topic} names {len(names)} joints and measures {wrong}: send one value a joint")
        self._topics[topic] = _Topic(topic, names, widths)
        self._topics[topic].forget()

    def take(self, topic: str, message: Any, received_ns: int) -> BridgedFrame | None:
        """The frame of a message of the state; of any other topic None: its values hold until its next.

        ``received_ns``: when it was received or logged, ns since the epoch; it stamps the frames of a take whose first
        message has no stamp, and is kept as how far it lies behind otherwise.
        """
        self.hold(topic, message)
        return self._frame(message, received_ns) if self._asked(topic, message) == self._state else None

    def hold(self, topic: str, message: Any) -> None:
        """A message while no take is recorded: its values hold until the next of its topic."""
        self.learn(topic, message)
        known = self._topics.get(self._asked(topic, message))
        if known is None:  # joints on a shared topic that nobody asked for
            return
        values = {role: np.asarray(getattr(message, role), np.float64) for role in known.widths}
        found = {role: len(getattr(message, role)) for role in _ROLES if len(getattr(message, role))}
        if tuple(message.name) != known.names or found != known.widths:
            raise LayoutError(
                f"{topic} named {len(known.names)} joints and measured {known.widths} at first, now"
                f" {len(message.name)} and {found}: begin a new take with a bridge of its own"
            )
        known.values = values

    def _frame(self, message: Any, received_ns: int) -> BridgedFrame:
        plan = self._plan
        flat = np.concatenate([v for topic in self._ordered() for v in topic.values.values()])
        with np.errstate(over="ignore"):
            rows = {name: flat[columns].astype(np.float32) for name, columns in plan.columns.items()}
        t_ns, lag_s = self._stamp(message, received_ns)
        position, velocity, effort, command = (rows.pop(name, None) for name in JOINT_CHANNELS)
        rows[LAG] = np.array([lag_s], np.float32)
        return BridgedFrame(t_ns, position, velocity, effort, command, rows)

    def _stamp(self, message: Any, received_ns: int) -> tuple[int, float]:
        """As recordings are read: the header's stamp where the robot sets it, else when it was received."""
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if self._stamped is None:
            self._stamped, self._lag_ns = stamp > 0, received_ns - stamp
        if not self._stamped:
            return received_ns, 0.0
        if stamp <= 0:
            raise LayoutError(f"{self._state}: a message without a stamp in a take of stamped ones: set header.stamp")
        return stamp, (received_ns - stamp - self._lag_ns) * 1e-9

    def _ordered(self) -> list[_Topic]:
        """The state, then as recordings have it: what shares most joints with it first."""
        state = self._topics[self._state]
        beside = [self._topics[name] for name in self._beside]
        return [state, *sorted(beside, key=lambda t: -len(set(t.names) & set(state.names)))]

    @property
    def _plan(self) -> _Plan:
        if self._made is None:
            if self.missing:
                raise LayoutError(f"nothing was heard on {', '.join(self.missing)} yet: wait for it, or leave it out")
            self._made = self._planned()
        return self._made

    def _planned(self) -> _Plan:
        signals = list(own_names(list(self._numbered())))
        guess = named(self._model) if self._model else identify(self._hint, joint_names(signals), layout(signals))
        guess = guess.certain(self._state)
        done = Normaliser(self._state, guess, Choices()).apply(signals)
        columns = {name: values[0].astype(np.int64) for name, values in {**done.signals, **done.further}.items()}
        return _Plan(guess, done, columns)

    def _numbered(self) -> Iterator[Signal]:
        """Signals of one frame whose values are the numbers of their columns."""
        first = 0
        for topic in self._ordered():
            one = topic.numbered(first)
            if topic.name == self._state:
                yield from state_signals(one, slice(0, 1))
            else:
                yield from held_beside(one, np.zeros(1, np.int64))[0]
            first += topic.width
