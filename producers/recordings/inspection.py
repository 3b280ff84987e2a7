"""What is inside a recording, for people who mean to publish it; never sends or changes anything."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.clocks import stamp_oddities, usual_rate
from kinestream.producers.recordings.formats import open_source
from kinestream.producers.recordings.identify import Guess, canonical
from kinestream.producers.recordings.naming import named
from kinestream.producers.recordings.normalise import all_joint_names, joint_names
from kinestream.producers.recordings.normalised import NormalisedRecording, guess_of
from kinestream.producers.recordings.oddities import Oddities, parted
from kinestream.producers.recordings.recording import RecordedEpisode
from kinestream.producers.recordings.take import OWN, Choices, Source, Take
from kinestream.schemas.errors import RecordingError, UndecidedError, UnknownModelError
from kinestream.schemas.frames import Int64
from kinestream.schemas.lacking import lacking

#: Commands shown where a person has to choose.
_MOST_CHOICES: Final = 24
#: Things that one recording may leave to a person before its frames can be seen: topic, joints, rate.
_MOST_SUPPOSED: Final = 4


@dataclass(slots=True)
class Inspection:
    """What a recording holds and what `publish` would make of it; ``refused`` is empty where it could read it."""

    path: str
    format: str
    episodes: int
    #: episodes declared and not there
    missing: int
    frames: int
    #: model_id, confidence 0 to 1, why, and the choices where none is certain
    robot: dict[str, Any]
    #: source's name -> canonical name
    joints_mapped: dict[str, str]
    joints_not_mapped: list[str]
    #: name, width and unit of everything measured
    channels: list[dict[str, Any]] = field(default_factory=list)
    #: frames a second on average, over the stamps; 0 = one frame
    rate_hz: float = 0.0
    #: frames a second that gaps are judged against: as declared, else of the median period; 0 = nobody knows
    nominal_rate_hz: float = 0.0
    rate_declared: bool = False
    #: from the earliest stamp to the latest, of all episodes, s
    duration_s: float = 0.0
    #: the first stamps the frames
    clocks: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    conversions: list[str] = field(default_factory=list)
    #: what the recording holds and `publish` leaves out
    left_out: list[str] = field(default_factory=list)
    #: metrics of what is measured that are judged of no joint, for they need limits nobody knows
    not_judged: list[str] = field(default_factory=list)
    #: the command to use; empty where it is refused
    publish: str = ""
    refused: str = ""
    #: the commands that would work where only a person can choose; HZ, A,B,C or FILE is left to fill in
    choose: list[str] = field(default_factory=list)


def inspect(typed: Path | str, choices: Choices | None = None) -> Inspection:
    """Look into a recording; raises :class:`RecordingError` where nothing of it can be read.

    The command to publish it names it as ``typed``. What only a person can say is supposed, for all else to be seen.
    """
    choices, path = choices or Choices(), Path(typed)
    problem, seen, source, guess = _open(path, choices)
    found = _sketch(path, source, guess, seen)
    try:
        if problem is not None:
            raise problem
        _add_episodes(found, NormalisedRecording(path, source, choices))
        found.publish = publish_line(typed, choices)
    except (RecordingError, UnknownModelError) as refusal:
        found.refused = str(refusal)
        found.duration_s = _whole_s(source, found.duration_s)
        ways = (publish_line(typed, *way) for way in _decided(path, choices, refusal))
        found.choose = list(islice(ways, _MOST_CHOICES))
    _forget(found, choices, seen)
    found.not_judged = _not_judged(guess, source, found)
    return found


def _open(path: Path, choices: Choices) -> tuple[UndecidedError | None, Choices, Source, Guess]:
    """The source and its robot, by what has to be supposed for it; and the first doubt that asks for it."""
    first: UndecidedError | None = None
    for _ in range(_MOST_SUPPOSED):
        try:
            source = open_source(path, choices)
            return first, choices, source, guess_of(path, source, choices)
        except UndecidedError as problem:
            first = first or problem
            value = _value(problem, problem.choices[0]) if problem.choices else problem.suppose
            choices = replace(choices, **{problem.option: value})  # type: ignore[arg-type]
        except RecordingError as problem:
            raise first or problem from problem
    raise first or RecordingError(f"{path} leaves too much in doubt")


def _value(problem: UndecidedError, choice: str) -> object:
    return tuple(choice.split(",")) if problem.option == "joints" else choice


def _forget(found: Inspection, choices: Choices, seen: Choices) -> None:
    """Take back what hangs on a supposition; what is said under one that is kept is told to be so."""
    if seen.rate_hz != choices.rate_hz:
        found.rate_hz = found.nominal_rate_hz = found.duration_s = 0.0
        found.rate_declared, found.clocks = False, []
        found.oddities = [text for text in found.oddities if not text.startswith("the stamps are computed")]
    if seen.joints != choices.joints:
        found.oddities.insert(
            0, f"seen as if --joints {','.join(seen.joints)} were said: which are joints is not known"
        )
    if seen.unit != choices.unit:
        found.oddities.insert(0, f"seen as if --unit {seen.unit} were said: what the unit is is not known")
    if seen.topic != choices.topic:
        found.oddities.insert(0, f"seen as if --topic {seen.topic} were said: the other topics may hold other joints")


def _decided(
    path: Path, choices: Choices, problem: Exception, fill: tuple[str, ...] = ()
) -> Iterator[tuple[Choices, tuple[str, ...]]]:
    """Every way to decide what only a person can, each tried: what is still undecided then is decided too.

    The second are the options whose value a person has to fill in.
    """
    if not isinstance(problem, UndecidedError):
        return
    if not problem.choices:
        fill = (*fill, problem.option)
    for value in [_value(problem, choice) for choice in problem.choices] or [problem.suppose]:
        if value is None:  # nothing can be tried
            yield choices, fill
            continue
        chosen = replace(choices, **{problem.option: value})  # type: ignore[arg-type]
        try:
            tried = NormalisedRecording(path, open_source(path, chosen), chosen)
        except UndecidedError as further:
            if further.option != problem.option:
                yield from _decided(path, chosen, further, fill)
        except (RecordingError, UnknownModelError):
            continue
        else:
            yield from _with_joints(path, chosen, fill) if tried.undeclared else [(chosen, fill)]


def _with_joints(path: Path, choices: Choices, fill: tuple[str, ...]) -> Iterator[tuple[Choices, tuple[str, ...]]]:
    """The ways to say the unit of joints that would be channels without it."""
    for unit in ("deg", OWN):
        chosen = replace(choices, unit=unit)
        with suppress(RecordingError, UnknownModelError):
            NormalisedRecording(path, open_source(path, chosen), chosen)
            yield chosen, fill
    yield choices, (*fill, "calibration")


def publish_line(path: Path | str, choices: Choices, fill: Sequence[str] = ()) -> str:
    """The command that publishes ``path`` with these choices; those in ``fill`` are left for a person to fill in."""
    given = {
        "--model": choices.model,
        "--joints": "A,B,C" if "joints" in fill else ",".join(choices.joints),
        "--rate": "HZ" if "rate_hz" in fill else f"{choices.rate_hz:g}" if choices.rate_hz else "",
        "--unit": choices.unit,
        "--topic": choices.topic,
        "--split": f"{choices.split_s:g}" if choices.split_s else "",
        "--calibration": "FILE" if "calibration" in fill else choices.calibration,
    }
    words = [word for option, value in given.items() if value for word in (option, value)]
    return shlex.join(["kinestream", "publish", str(path), *words])


def _sketch(path: Path, source: Source, guess: Guess, choices: Choices) -> Inspection:
    first = next(source.takes(), None)
    names = joint_names(first.signals) if first else ()
    beside = [name for name in all_joint_names(first.signals) if name not in names] if first else []
    called = _called(path, first, guess, choices) if first else {}
    own = {name: called.get(name, name) for name in names}
    mapped = {name: joint for name in names if guess.model and (joint := canonical(guess.model, own[name]))}
    robot = {"model_id": guess.model_id, "confidence": guess.confidence, "why": guess.why}
    found = Inspection(
        path=str(path),
        format=source.format,
        episodes=len(source.present),
        missing=len(source.declared) - len(source.present),
        frames=source.frames,
        robot={**robot, "choices": list(guess.choices)},
        joints_mapped=mapped,
        joints_not_mapped=[name for name in (*names, *beside) if name not in mapped],
    )
    if first is not None:
        _add_first(found, first)
    return found


def _not_judged(guess: Guess, source: Source, found: Inspection) -> list[str]:
    """What is judged of no joint for lack of limits, of the signals there are; of a refused recording, by its names."""
    channels = {channel["name"] for channel in found.channels}
    if found.refused:
        first = next(source.takes(), None)
        channels = {signal.role for signal in first.signals} if first else set()
    driven = [joint for joint in guess.model.joints if not joint.mimic] if guess.model else []
    return [metric for metric, names in lacking(guess.model, channels).items() if len(names) == len(driven)]


def _called(path: Path, first: Take, guess: Guess, choices: Choices) -> Mapping[str, str]:
    """What a person calls columns that the recording only counts."""
    signal = next((s for s in first.signals if s.role != "channel" and s.elements), None)
    with suppress(RecordingError):  # why it is refused is told by those who read it
        return named(path, signal, choices, guess.model, {}).renamed if signal else {}
    return {}


def _add_first(found: Inspection, take: Take) -> None:
    """What the first episode says whether or not its robot is known."""
    t_ns = take.clocks[0].t_ns
    found.duration_s, found.rate_hz = _span_s(t_ns), _rate(t_ns)
    found.nominal_rate_hz, found.rate_declared = take.rate_hz or usual_rate(take.clocks[0]), take.rate_hz > 0
    found.clocks = [clock.name for clock in take.clocks]
    found.oddities = [*take.oddities, *stamp_oddities(take.clocks[0], take.rate_hz), *parted(t_ns)]
    found.left_out = list(take.left_out)
    found.channels = [{"name": s.name, "width": s.values.shape[1], "unit": s.unit} for s in take.signals]


def _add_episodes(found: Inspection, recording: NormalisedRecording) -> None:
    odd = Oddities()
    found.duration_s, rates = 0.0, []
    for number, episode in enumerate(recording):
        if not number:
            found.channels = _channels(episode, recording.lengths)
            found.conversions = list(episode.conversions)
        found.duration_s += _span_s(episode.t_ns)
        rates.append(_rate(episode.t_ns))
        odd.add(episode)
    found.rate_hz = round(float(np.median(rates)), 3)
    found.oddities = odd.told()
    if recording.missing:
        found.oddities.append(f"{len(recording.missing)} of {len(recording.declared)} declared episodes are not there")


def _channels(episode: RecordedEpisode, lengths: Collection[str]) -> list[dict[str, Any]]:
    """All that is measured; ``lengths`` are the joints that slide, in m."""
    slide = sum(joint in lengths for joint in episode.joints)
    place = "rad" if not slide else "m" if slide == len(episode.joints) else "rad and m"
    force = "Nm" if not slide else "N" if slide == len(episode.joints) else "Nm and N"
    speed = " and ".join(f"{unit}/s" for unit in place.split(" and "))
    joints = {"position": place, "velocity": speed, "effort": force, "command": place}
    own = [(name, len(episode.joints), unit) for name, unit in joints.items() if getattr(episode, name) is not None]
    own += [(channel.name, channel.width, channel.unit) for channel in episode.channels]
    return [{"name": name, "width": width, "unit": unit} for name, width, unit in own]


def _whole_s(source: Source, first_s: float) -> float:
    """Seconds of all episodes of a recording that is refused; of the first, where it cannot be read to its end."""
    try:
        return sum(_span_s(take.clocks[0].t_ns) for take in source.takes())
    except Exception:  # damaged bytes raise anything, and why it is refused is told already
        return first_s


def _span_s(t_ns: Int64) -> float:
    """From the earliest stamp to the latest: stamps may go back."""
    return (int(t_ns.max()) - int(t_ns.min())) / 1e9


def _rate(t_ns: Int64) -> float:
    span = _span_s(t_ns)
    return round((len(t_ns) - 1) / span, 3) if span > 0 else 0.0
