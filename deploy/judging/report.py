"""What is told of judged recordings, as values ready for JSON, terminal and page; reads and judges nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kinestream.deploy.judging.aligned import aligned_with
from kinestream.deploy.judging.judged import LIVE_ONLY, Judged
from kinestream.deploy.judging.signals import Recorded, traces_of
from kinestream.deploy.judging.traces import Trace
from kinestream.streams.quality import Finding, Flag, MetricValue, Verdict
from kinestream.streams.quality.verdict import worst_first

#: The worst verdict first.
ORDER: Final = (Verdict.REJECT, Verdict.REVIEW, Verdict.UNASSESSED, Verdict.ACCEPT)


@dataclass(frozen=True, slots=True)
class EpisodeReport:
    """The judgement of one episode of a recording; times of findings count from its first frame, s."""

    path: str
    source: str
    model_id: str
    frames: int
    duration_s: float
    verdict: str
    rule_version: str
    begins_ns: int
    findings: tuple[Finding, ...]
    metrics: tuple[MetricValue, ...]
    not_evaluated: tuple[str, ...]
    #: of them, those without which the rules assess nothing
    lacking: tuple[str, ...]
    #: what a reader of the data should know, a sentence each
    oddities: tuple[str, ...]
    #: what its findings are about, to be drawn; not in JSON
    traces: tuple[Trace, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """From process to process as plain tuples: metrics as they are cost more than an episode's reading."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "metrics"}
        return _again, (fields, [(m.id, m.joint, m.value, m.unit, m.flag) for m in self.metrics])

    def rank(self) -> tuple[Any, ...]:
        """Sorts the worst first: by verdict, then by how many findings fail and are suspect, then by name."""
        fails = sum(finding.flag == Flag.FAIL for finding in self.findings)
        return ORDER.index(Verdict(self.verdict)), -fails, fails - len(self.findings), self.path, self.source

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("path", "source", "model_id", "frames", "duration_s", "verdict", "rule_version")
        metrics = [
            {"id": m.id, "joint": m.joint or None, "value": number(m.value), "unit": m.unit, "flag": str(m.flag)}
            for m in self.metrics
        ]
        return {
            **{name: getattr(self, name) for name in names},
            "findings": [self._finding(one) for one in self.findings],
            "metrics": metrics,
            "aligned_with": aligned_with(metrics),
            "not_evaluated": list(self.not_evaluated),
            "lacking": list(self.lacking),
            "oddities": list(self.oddities),
        }

    def _finding(self, one: Finding) -> dict[str, Any]:
        begins, ends = self.span_s(one)
        return {
            "metric": one.metric,
            "joint": one.joint or None,
            "flag": str(one.flag),
            "value": number(one.value),
            "unit": one.unit,
            "threshold": number(one.threshold),
            "origin": str(one.origin),
            "first_seq": one.first_seq,
            "last_seq": one.last_seq,
            "t_start_s": begins,
            "t_end_s": ends,
            "message": one.message,
            "message_zh": one.message_zh,
        }

    def span_s(self, finding: Finding) -> tuple[float, float]:
        """Where a finding begins and ends, s from the first frame."""
        begins, ends = finding.t_start_ns - self.begins_ns, finding.t_end_ns - self.begins_ns
        return round(begins / 1e9, 6), round(ends / 1e9, 6)


def _again(fields: Mapping[str, Any], metrics: Sequence[tuple[str, str, float, str, str]]) -> EpisodeReport:
    return EpisodeReport(**fields, metrics=tuple(MetricValue(*one) for one in metrics))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A recording that could not be read, or not to its end, and why."""

    path: str
    problem: str


@dataclass(slots=True)
class FilesReport:
    """All judged episodes of a run, the worst first; ``notes`` are what the reader should know of whole recordings."""

    episodes: list[EpisodeReport] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def frames(self) -> int:
        """Of all episodes."""
        return sum(episode.frames for episode in self.episodes)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many episodes of each verdict, the worst first."""
        counts = Counter(episode.verdict for episode in self.episodes)
        return {str(verdict): counts[verdict] for verdict in ORDER if counts[verdict]}

    @property
    def exit_code(self) -> int:
        """0: every episode is accepted; 1: some are not; 2: a recording could not be read, or there is no episode."""
        if self.unreadable or not self.episodes:
            return 2
        return int(set(self.verdicts) != {Verdict.ACCEPT})

    def oddities(self) -> list[str]:
        """What is odd of the recordings, and in how many episodes where not in all."""
        counts = Counter(text for episode in self.episodes for text in episode.oddities)
        every = len(self.episodes)
        return [
            text if times == every else f"{text} (in {times} of {every} episodes)" for text, times in counts.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "verdicts": self.verdicts,
            "frames": self.frames,
            "seconds": self.seconds,
            "episodes": [episode.to_json() for episode in self.episodes],
            "unreadable": [{"path": one.path, "problem": one.problem} for one in self.unreadable],
            "notes": self.notes,
            "not_on_files": self.not_on_files(),
        }

    def not_on_files(self) -> dict[str, str]:
        """Metrics without a value because these are files, and why."""
        told = {metric for episode in self.episodes for metric in episode.not_evaluated}
        return {metric: why for metric, why in LIVE_ONLY.items() if metric in told}


def report_of(path: str, judged: Judged, pictured: bool) -> EpisodeReport:
    """What is told of one episode, with what is drawn of it if it is ``pictured``."""
    recorded, judgement = judged.recorded, judged.judgement
    return EpisodeReport(
        path=path,
        source=recorded.source,
        model_id=recorded.model_id,
        frames=len(recorded),
        duration_s=judged.judge.span.seconds,
        verdict=str(judgement.verdict),
        rule_version=judgement.rule_version,
        begins_ns=int(recorded.t_ns[0]),
        findings=worst_first(judgement.findings),
        metrics=judgement.metrics,
        not_evaluated=judged.not_evaluated,
        lacking=judged.lacking,
        oddities=recorded.oddities,
        traces=_traces(judged) if pictured else (),
    )


def _traces(judged: Judged) -> tuple[Trace, ...]:
    recorded = judged.recorded
    shown = Recorded(recorded.t_ns, recorded.joints, judged.frames.channels, recorded.channels, judged.model)
    return traces_of(shown, judged.findings)


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
