"""One episode's judge: feeds every metric a fetch at a time and joins their findings. No clock, no I/O, no logging."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from kinestream.schemas.errors import ContractError
from kinestream.streams.quality.activity import length_finding, length_value
from kinestream.streams.quality.arrival import Arrivals
from kinestream.streams.quality.beside import beside_task
from kinestream.streams.quality.board import Board
from kinestream.streams.quality.delivery import conflict_finding, delivery_values, loss_finding
from kinestream.streams.quality.desk import WHOLE
from kinestream.streams.quality.duplicates import Signature
from kinestream.streams.quality.jumps import Jumps
from kinestream.streams.quality.limits import ANYWHERE, Limits
from kinestream.streams.quality.missing import Missing
from kinestream.streams.quality.model import (
    Context,
    Delivery,
    Finding,
    Flag,
    Frames,
    Judgement,
    MetricValue,
    Span,
    settled,
)
from kinestream.streams.quality.outcome import outcome_value
from kinestream.streams.quality.rules import BUILTIN, Rules
from kinestream.streams.quality.scratch import LARGEST, Bench, Workshop, workshop
from kinestream.streams.quality.tasks import Features, features_of
from kinestream.streams.quality.timing import Timing
from kinestream.streams.quality.timing_metrics import timing_findings, timing_values
from kinestream.streams.quality.twins import Twins, twin_findings, twin_values
from kinestream.streams.quality.verdict import verdict_of, worst_first


class EpisodeJudge:
    """Judges an episode frame by frame, in ascending frame number; state is bounded and independent of the cuts."""

    __slots__ = (
        "_arrivals",
        "_board",
        "_first_row",
        "_jumps",
        "_last_row",
        "_limits",
        "_missing",
        "_others",
        "_timing",
        "context",
        "rules",
        "span",
    )

    def __init__(self, context: Context, rules: Rules = BUILTIN, *, core: bool = False) -> None:
        """``core``: only T1, T2, T4-T6, T11, I1, I3, I8, E6; the other metrics have no rows then."""
        self.context = context
        self.rules = rules
        self.span = Span()
        self._timing = Timing(context, rules)
        self._missing = Missing()
        self._limits = Limits(context, rules)
        self._jumps = Jumps(context, rules)
        #: the metrics beyond the core; None: not asked for
        self._board = None if core else Board(context, rules)
        self._arrivals = Arrivals(context, rules)
        self._others = tuple(channel for channel in context.channels if channel[0] != "position")
        # the first and the last position, float32 (J,): what a merge and the next fetch connect to
        self._first_row = self._last_row = np.zeros(len(context.joints), np.float32)

    def advance(self, frames: Frames) -> None:
        """Add frames, all beyond the last one; numbers may be missing between (a hole already waited for)."""
        n = len(frames.t_ns)
        if n > LARGEST:
            for begin in range(0, n, LARGEST):
                piece = _piece(frames, slice(begin, begin + LARGEST))
                self._advance(piece, len(piece.t_ns))
        elif n:
            self._advance(frames, n)
        if self._board is not None and n:
            self._board.add(frames)
            self._board.rest()
            if frames.broker_ns is not None:
                self._arrivals.add(frames.seq, frames.t_ns, frames.broker_ns)

    def take_whole(self) -> None:
        """Before the first frame: all frames are there, nobody asks for findings before the last is in.

        Larger batches are judged faster, and are not what a take that is being recorded could hold. Every figure is
        the same to the nine digits that are told.
        """
        if self._board is not None and not self.span.frames:
            self._board.largest = WHOLE

    def _advance(self, frames: Frames, n: int) -> None:
        span, starts = self.span, not self.span.frames
        if starts:
            span.first_seq, span.first_t = int(frames.seq[0]), int(frames.t_ns[0])
            span.last_seq, span.last_t = span.first_seq - 1, span.first_t
        shop = workshop(len(self.context.joints))
        bench = shop.for_frames(n)
        bench.stamps[0] = span.last_t
        bench.stamps_tail[:] = frames.t_ns
        np.subtract(bench.stamps_tail, bench.stamps_head, out=bench.period)
        shortest_ns = self._timing.add(bench, frames, span, starts)
        position = frames.channels.get("position")
        if position is not None:
            if starts:
                self._first_row = position[0].copy()
                self._last_row = position[0].copy()
            bench.rows[0] = self._last_row
            bench.rows_tail[:] = position
            self._move(shop, bench, frames, shortest_ns, starts)
            self._last_row[:] = position[-1]
        self._missing.look(frames, self._others)
        span.frames += n
        span.last_seq, span.last_t = int(frames.seq[-1]), int(frames.t_ns[-1])

    def _move(self, shop: Workshop, bench: Bench, frames: Frames, shortest_ns: int, starts: bool) -> None:
        np.maximum.reduce(bench.rows, axis=0, out=shop.highest)
        np.minimum.reduce(bench.rows, axis=0, out=shop.lowest)
        finite = self._limits.clear(shop)
        if not finite:
            self._limits.add(shop, frames, starts)
            finite = bool((shop.highest < ANYWHERE).all() and (shop.lowest > -ANYWHERE).all())
            if not finite:
                self._missing.count("position", frames)
            shop.ok[:] = True
        self._jumps.add(shop, bench, frames, shortest_ns, finite)

    @property
    def wants_arrivals(self) -> bool:
        """Whether ``Frames.broker_ns`` is read."""
        return self._board is not None

    @property
    def rule_version(self) -> str:
        """The rules, the description of the robot's model, the task's statistics; or that it was the core alone."""
        model, task = self.context.model_version, self.context.task
        version = f"{self.rules.version}/{model}" if model else self.rules.version
        if self._board is None:
            return f"{version}+core"
        return f"{version}+task-{task.version}" if task else version

    @property
    def pins(self) -> dict[str, str]:
        """What stays what it was when the episode began, whatever is registered meanwhile."""
        task = self.context.task
        return {"model": self.context.model_version, "task": task.version if task else ""}

    def live(self, delivery: Delivery) -> list[Finding]:
        """All findings that hold now (provisional); ``delivery.expected`` counts to the frontier."""
        return self._findings(delivery, live=True)

    def at_once(self, delivery: Delivery) -> list[Finding]:
        """As :meth:`live` with no frame held back: what can be known at the last frame. Dearer; for measuring."""
        if self._board is not None:
            self._board.settle()
        return self._findings(delivery, live=True)

    def _findings(self, delivery: Delivery, live: bool) -> list[Finding]:
        context, rules, span = self.context, self.rules, self.span
        found = loss_finding(context, rules, span, delivery, live)
        if delivery.conflicting:
            found += conflict_finding(context, span, delivery)
        found += timing_findings(self._timing, context, rules, span, live)
        if self._missing.elements:
            found += self._missing.findings(context, rules, span, live)
        if self._limits.joints:
            found += self._limits.findings(context, span, live)
        if self._jumps.jumped:
            found += self._jumps.findings(context, span)
        if self._board is None:
            return found
        further = self._board.findings(span, live)
        return found + [replace(finding, value=settled(finding.value)) for finding in further]

    @property
    def signature(self) -> Signature | None:
        """What D2 compares; None where nothing moved, or not all metrics are asked for."""
        return None if self._board is None else self._board.signature(self.span)

    def features(self, judgement: Judgement) -> Features | None:
        """What the statistics of its task take from it; None where positions were not measured, or not all judged."""
        poses = self._board.poses if self._board is not None else {}
        return features_of(judgement.metrics, self.span.seconds, poses) if poses else None

    def final(self, delivery: Delivery, twins: Twins | None = None) -> Judgement:
        """The judgement of the whole episode; metrics come whole first, then the joints that are not GOOD.

        ``twins``: what it repeats; None = nobody looked, and D1 and D2 are NOT_EVALUATED.
        """
        context, rules, span = self.context, self.rules, self.span
        found = self._findings(delivery, live=False) + length_finding(context, rules, span)
        found += twin_findings(context, rules, span, twins)
        by_metric: dict[str, list[Finding]] = {}
        for finding in worst_first(found):
            by_metric.setdefault(finding.metric, []).append(finding)
        flags = {metric: Flag(findings[0].flag) for metric, findings in by_metric.items()}
        metrics = timing_values(self._timing, rules, span, flags)
        metrics += delivery_values(delivery, flags)
        metrics.append(length_value(span, flags))
        metrics += self._missing.values(context, span, by_metric.get("I1", []))
        metrics += self._limits.values(context, span, by_metric.get("I3", []))
        metrics += self._jumps.values(context, span, by_metric.get("I8", []))
        if self._board is not None:
            metrics += [
                MetricValue(row.id, row.joint, settled(row.value), row.unit, row.flag)
                for row in self._board.values(span, by_metric)
            ]
            metrics += twin_values(twins)
            beside = beside_task(context, rules, span, metrics, self._board.poses)
            metrics, found = beside.rows, found + beside.findings
        # how frames were delivered is in the rows alone: the same frames have the same findings and verdict
        verdict = verdict_of(metrics, delivery.status, rules)
        if self._board is not None:
            metrics += self._delivered(delivery)
        metrics.sort(key=lambda metric: bool(metric.joint))
        return Judgement(tuple(metrics), worst_first(found), verdict, self.rule_version)

    def _delivered(self, delivery: Delivery) -> list[MetricValue]:
        flagged: dict[str, list[Finding]] = {}
        for finding in self._arrivals.findings(self.span):
            flagged.setdefault(finding.metric, []).append(finding)
        return [*self._arrivals.values(delivery, flagged), outcome_value(delivery)]

    def merge(self, later: EpisodeJudge) -> None:
        """Take in the judge of the frames that follow these; afterwards ``later`` must not be used.

        Raises :class:`ContractError` if it judges another episode or frames that do not follow.
        """
        mine, other = self.span, later.span
        if self.context.episode_id != later.context.episode_id:
            raise ContractError(
                f"cannot merge episode {later.context.episode_id} into {self.context.episode_id}: merge parts of one"
            )
        if not other.frames:
            return
        if mine.frames and other.first_seq <= mine.last_seq:
            raise ContractError(
                f"cannot merge frames from {other.first_seq} after frame {mine.last_seq}: merge parts in frame order"
            )
        if mine.frames:
            self._join(later)
        else:
            self._timing, self._missing, self._limits = later._timing, later._missing, later._limits
            self._jumps, self._first_row, self.span = later._jumps, later._first_row, copy(other)
        if self._board is not None and later._board is not None:
            self._board.merge(later._board)
        self._last_row = later._last_row

    def _join(self, later: EpisodeJudge) -> None:
        mine, other = self.span, later.span
        self._timing.merge(later._timing, mine, other)
        self._missing.merge(later._missing)
        self._limits.merge(later._limits)
        if self.context.measures("position"):
            self._jumps.add_cut(self._last_row, later._first_row, other, other.first_t - mine.last_t)
        self._jumps.merge(later._jumps)
        mine.frames += other.frames
        mine.last_seq, mine.last_t = other.last_seq, other.last_t


def _piece(frames: Frames, part: slice) -> Frames:
    channels = {name: values[part] for name, values in frames.channels.items()}
    broker = None if frames.broker_ns is None else frames.broker_ns[part]
    return Frames(frames.seq[part], frames.t_ns[part], channels, broker)
