"""A source with its robot known: the recording that is published; never a format, never a broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kinestream.producers.recordings.calibration import read_calibration
from kinestream.producers.recordings.clocks import between, stamp_oddities, usual_rate
from kinestream.producers.recordings.damaged import read_or_refused
from kinestream.producers.recordings.identify import Guess, declared_model, identify, named
from kinestream.producers.recordings.normalise import Normalised, Normaliser, joint_names, layout
from kinestream.producers.recordings.oddities import beside_limits, not_numbers
from kinestream.producers.recordings.recording import RecordedEpisode
from kinestream.producers.recordings.take import OWN, Choices, Divisible, Signal, Source, Take
from kinestream.schemas.errors import RecordingError
from kinestream.schemas.models import RobotModel


def guess_of(path: Path, source: Source, choices: Choices) -> Guess:
    """The robot of a source: as a person names it, as it says itself, or as its joints' names let guess."""
    if choices.described is not None:
        return Guess(choices.described.model_id, choices.described, 1.0, "registered, and named with --model")
    if choices.model:
        return named(choices.model)
    if declared_model(source.hint):
        return identify(source.hint, ())
    with read_or_refused(path, source.format):
        first = next(source.takes(), None)
    return (
        identify(source.hint, joint_names(first.signals), layout(first.signals)) if first else identify(source.hint, ())
    )


def lengths_of(model: RobotModel | None, signals: Sequence[Signal]) -> frozenset[str]:
    """Joints that slide, as far as anybody says it."""
    if model is not None:
        return frozenset(joint.name for joint in model.joints if joint.unit == "m")
    return frozenset(name for s in signals for name, unit in s.declared.items() if unit in ("m", "mm", "cm"))


def _said(path: Path, source: Source) -> str:
    return f"{path} is of robot type {source.hint.name!r}" if source.hint.name else f"{path}"


class NormalisedRecording:
    """A :class:`Recording` of any source; raises :class:`RecordingError` where its robot would be a guess."""

    def __init__(self, path: Path, source: Source, choices: Choices) -> None:
        self._path, self._source, self._choices = path, source, choices
        self.name, self.format = source.name, source.format
        self.declared, self.present, self.frames = source.declared, source.present, source.frames
        there = set(source.present)
        self.missing = tuple(i for i in source.declared if i not in there)
        self._calibration_id = read_calibration(Path(choices.calibration)).id if choices.calibration else ""
        self.guess = guess_of(path, source, choices).certain(_said(path, source))
        self._units: dict[str, tuple[str, str]] = {}
        self._joints: tuple[str, ...] = ()
        #: joints that are known to slide, in m: a described robot's, or those whose columns declare a length
        self.lengths: frozenset[str] = frozenset()
        first = next(self._takes(), None)
        if first is not None:  # what cannot be brought into the form is refused before anything is sent
            done = self._normalised(first)
            self._units, self._joints = dict(done.units), done.joints
            self.lengths = lengths_of(self.guess.model, first.signals)

    @property
    def undeclared(self) -> bool:
        """Whether its first episode has no joints because nobody says, and nothing proves, in which unit they are."""
        return any(unit == (OWN, "") for unit in self._units.values()) and not self._joints

    def __iter__(self) -> Iterator[RecordedEpisode]:
        """The episodes present, in order; raises :class:`RecordingError` at one that cannot be read."""
        return (self._episode(take) for take in self._takes())

    @property
    def divisible(self) -> bool:
        """Whether parts of it can be read without what is before them."""
        return isinstance(self._source, Divisible)

    def part(self, share: int, shares: int) -> Iterator[RecordedEpisode]:
        """The ``share``-th of ``shares`` runs of episodes; raises as iterating does."""
        if shares == 1:
            return iter(self)
        if not isinstance(self._source, Divisible):
            raise RecordingError(f"{self._path}: a {self.format} is read from its beginning; it has one share")
        return (self._episode(take) for take in self._takes(self._source.part(share, shares)))

    def _takes(self, takes: Iterator[Take] | None = None) -> Iterator[Take]:
        takes = takes or self._source.takes()
        while True:
            with read_or_refused(self._path, self.format):
                take = next(takes, None)
            if take is None:
                return
            yield take

    def _normalised(self, take: Take) -> Normalised:
        normaliser = Normaliser(self._path, self.guess, self._choices, self._units)
        return normaliser.apply(take.signals, take.clocks[0].t_ns)

    def _episode(self, take: Take) -> RecordedEpisode:
        clock = take.clocks[0]
        done = self._normalised(take)
        apart = [between(clock.t_ns, c.t_ns, c.name, clock.name) for c in take.clocks[1:] if c.absolute]
        rate = take.rate_hz or usual_rate(clock)
        usual = [f"nominal rate {rate:g} Hz: of the median period, nobody declares one"] if rate != take.rate_hz else []
        position = done.signals.get("position")
        odd = beside_limits(self.guess.model, done.joints, position)
        if not self.format.startswith("CSV"):  # which tells them by cell; a command is NaN before its first
            odd += not_numbers({name: values for name, values in done.signals.items() if name != "command"})
        model = [] if self.guess.confidence == 1 else [f"model {self.guess.model_id}: {self.guess.why}"]
        return RecordedEpisode(
            source=take.source,
            model_id=self.guess.model_id,
            joints=done.joints,
            channels=done.channels,
            nominal_rate_hz=rate,
            t_ns=clock.t_ns,
            stamp_resolution_ns=clock.resolution_ns,
            absolute_time=clock.absolute,
            position=position,
            velocity=done.signals.get("velocity"),
            effort=done.signals.get("effort"),
            command=done.signals.get("command"),
            further=done.further,
            labels={**take.labels, "calibration_id": self._calibration_id},
            conversions=(*model, *done.conversions, clock.told, *usual, *take.conversions),
            clocks=tuple(c.name for c in take.clocks),
            oddities=(*take.oddities, *stamp_oddities(clock, take.rate_hz), *filter(None, apart), *done.oddities, *odd),
            left_out=take.left_out,
        )
