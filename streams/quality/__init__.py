"""The quality core: values in, findings and a verdict out. Never reads a clock, never does I/O, never logs."""

from __future__ import annotations

from kinestream.streams.quality.judge import EpisodeJudge
from kinestream.streams.quality.lamps import Change, LampBook
from kinestream.streams.quality.model import (
    Context,
    Delivery,
    Finding,
    Flag,
    Frames,
    Judgement,
    MetricValue,
    Origin,
    finding_id,
)
from kinestream.streams.quality.rules import BUILTIN, Rules
from kinestream.streams.quality.twins import Print, Shelf, Twins, twins_of
from kinestream.streams.quality.verdict import Verdict

__all__ = [
    "BUILTIN",
    "Change",
    "Context",
    "Delivery",
    "EpisodeJudge",
    "Finding",
    "Flag",
    "Frames",
    "Judgement",
    "LampBook",
    "MetricValue",
    "Origin",
    "Print",
    "Rules",
    "Shelf",
    "Twins",
    "Verdict",
    "finding_id",
    "twins_of",
]
