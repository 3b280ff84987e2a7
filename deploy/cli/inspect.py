"""Owns the command ``inspect``, in the user's words; the work is in producers/recordings/inspection.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from kinestream.deploy.cli.publish import (
    CalibrationOption,
    JointsOption,
    ModelOption,
    RateOption,
    SplitOption,
    TopicOption,
    UnitOption,
    choices_of,
)

if TYPE_CHECKING:
    from kinestream.producers.recordings.inspection import Inspection

#: Names shown of a longer list; --json has them all.
_SHOWN = 6


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    path: Annotated[str, typer.Argument(help="A recording: a file, or the folder of a data set or bag.")],
    model: ModelOption = "",
    joints: JointsOption = "",
    rate: RateOption = 0.0,
    unit: UnitOption = "",
    topic: TopicOption = "",
    split: SplitOption = 0.0,
    calibration: CalibrationOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say what is inside a recording and how to publish it; exit code 2 where `publish` would refuse it."""
    from kinestream.deploy.cli.output import complain, emit_json, say
    from kinestream.producers.recordings.inspection import inspect as look

    found = look(path, choices_of(model, joints, rate, unit, topic, split, calibration))
    if as_json:
        emit_json(found)
    else:
        for line in _told(found):
            say(line)
    if found.refused:
        complain(found.refused)
        raise typer.Exit(2)


def _told(found: Inspection) -> Iterator[str]:
    missing = f" ({found.missing} more declared, not there)" if found.missing else ""
    yield f"{found.path}: {found.format}"
    lasts = f", {found.duration_s:,.2f} s" if found.clocks else ""
    yield f"episodes   {found.episodes}{missing}, {found.frames:,} frames{lasts}"
    yield f"rate       {_rate(found)}"
    yield f"clocks     {', '.join(found.clocks) or 'none: the recording holds no time'}"
    yield f"robot      {found.robot['model_id']} (confidence {found.robot['confidence']:g}): {found.robot['why']}"
    if found.robot["choices"]:
        yield f"choices    {', '.join(found.robot['choices'])}"
    if found.not_judged:
        yield f"not judged for lack of limits: {', '.join(found.not_judged)}; a description gives them (docs/robots.md)"
    yield f"mapped     {_few([f'{name} -> {joint}' for name, joint in found.joints_mapped.items()])}"
    yield f"not mapped {_few(found.joints_not_mapped)}"
    yield f"measured   {_few([_channel(**channel) for channel in found.channels], 24)}"
    yield from (f"odd        {text}" for text in found.oddities)
    yield f"left out   {_few(found.left_out)}"
    if found.publish:
        yield f"publish    {found.publish}"
    yield from (f"choose     {line}" for line in found.choose)


def _rate(found: Inspection) -> str:
    if not found.clocks:
        return "unknown: say --rate HZ"
    mean = f"{found.rate_hz:g} Hz on average" if found.rate_hz else "unknown: one frame, or one stamp"
    if not found.nominal_rate_hz:
        return f"{mean}; no nominal rate"
    whose = "declared" if found.rate_declared else "that of the median period, for nobody declares one"
    return f"{mean}; nominal {found.nominal_rate_hz:g} Hz, {whose}"


def _channel(name: str, width: int, unit: str) -> str:
    return f"{name} ({width}, {unit or 'unit not declared'})"


def _few(names: list[str], shown: int = _SHOWN) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) + more) or "nothing"
