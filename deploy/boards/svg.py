"""Draws stat, time series and table panels of a Grafana board as SVG, in Grafana's dark look; asks nobody for data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final
from xml.sax.saxutils import escape

from kinestream.deploy.boards.macros import Window

PALETTE: Final = {"green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
PAGE, SURFACE, EDGE, GRID = "#111217", "#181b1f", "#2a2d33", "#26292e"
INK, FAINT = "#d8d9e3", "#9a9ba6"
_STEPS_S: Final = (60, 300, 600, 1800, 3600, 7200, 10800, 14400, 21600)

Fields = Mapping[str, Any]
Point = tuple[float, float]
#: A query's answer: columns by name, all of one length.
Frame = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in px."""

    x: float
    y: float
    w: float
    h: float


def text(
    x: float, y: float, words: str, size: float, color: str = INK, anchor: str = "start", weight: int = 400
) -> str:
    """One line of text, its baseline at ``y``."""
    where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" fill="{color}"'
    return f'<text {where} text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'


def rect(box: Box, color: str, more: str = "") -> str:
    """A filled rectangle."""
    return f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.w:.1f}" height="{box.h:.1f}" fill="{color}" {more}/>'


def fields_of(panel: Mapping[str, Any], name: str) -> Fields:
    """Defaults of a panel's fields with the overrides for column ``name`` on top."""
    config = panel["fieldConfig"]
    found = dict(config["defaults"])
    for override in config["overrides"]:
        if override["matcher"]["options"] == name:
            found |= {one["id"]: one["value"] for one in override["properties"]}
    return found


def shown(value: Any, fields: Fields, zone: tzinfo | None) -> str:
    """A value as Grafana would print it."""
    unit = str(fields.get("unit", ""))
    if value is None:
        return str(fields.get("noValue", ""))
    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%H:%M:%S}"
    if unit == "s":
        return f"{value:.1f} s" if value < 60 else f"{value / 60:.1f} min"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def color_of(value: Any, fields: Fields) -> str:
    """The colour of a value: mapped, fixed or by threshold."""
    for mapping in fields.get("mappings", ()):
        if value in mapping["options"]:
            return PALETTE.get(mapping["options"][value]["color"], INK)
    color = fields.get("color", {})
    name = color.get("fixedColor", "")
    if color.get("mode") == "thresholds" and value is not None:
        name = [s["color"] for s in fields["thresholds"]["steps"] if s["value"] is None or value >= s["value"]][-1]
    return PALETTE.get(name, name if name.startswith("#") else INK)


def stat(box: Box, panel: Mapping[str, Any], frames: Sequence[Frame], window: Window) -> str:
    """Big numbers side by side, one a column."""
    cells = [(name, values[-1] if values else None) for frame in frames for name, values in frame.items()]
    wide, parts = box.w / len(cells), []
    words = [shown(value, fields_of(panel, name), window.start.tzinfo) for name, value in cells]
    size = min(46.0, (wide - 16) / (0.68 * max(map(len, words))))
    small = min(15.0, (wide - 12) / (0.62 * max(len(name) for name, _ in cells)))
    for number, (name, value) in enumerate(cells):
        middle, color = box.x + wide * (number + 0.5), color_of(value, fields_of(panel, name))
        parts.append(text(middle, box.y + box.h * 0.28, name, small, INK, "middle"))
        parts.append(text(middle, box.y + box.h * 0.76, words[number], size, color, "middle", 600))
    return "".join(parts)


def series(box: Box, panel: Mapping[str, Any], frame: Frame, window: Window) -> str:
    """Lines over time, or bars stacked to 100 %."""
    names = [name for name in frame if name != "time"]
    custom = panel["fieldConfig"]["defaults"]["custom"]
    stacked = custom.get("stacking", {}).get("mode") == "percent"
    plot = Box(box.x + 44, box.y + 6, box.w - 54, box.h - 52)
    top = 1.0 if stacked else _nice(max((v for name in names for v in frame[name]), default=1))
    parts = [_axes(plot, window, top, "%" if stacked else "")]
    seconds = (window.end - window.start).total_seconds()
    at = [plot.x + plot.w * (t - window.start).total_seconds() / seconds for t in frame["time"]]
    if stacked:
        parts.append(_bars(plot, panel, frame, names, at, plot.w * window.interval_s / seconds))
    else:
        for name in names:
            ys = [plot.y + plot.h * (1 - value / top) for value in frame[name]]
            parts.append(_line(plot, list(zip(at, ys, strict=True)), fields_of(panel, name)))
    x = plot.x
    for name in names:
        color = color_of(None, fields_of(panel, name))
        parts.append(rect(Box(x, box.y + box.h - 14, 14, 4), color, 'rx="2"'))
        parts.append(text(x + 20, box.y + box.h - 8, name, 12.5))
        x += 44 + 6.6 * len(name)
    return "".join(parts)


def _axes(plot: Box, window: Window, top: float, unit: str) -> str:
    parts = []
    for part in range(5):
        y, value = plot.y + plot.h * (1 - part / 4), top * part / 4
        parts.append(f'<path d="M{plot.x:.1f} {y:.1f}h{plot.w:.1f}" stroke="{GRID}"/>')
        words = f"{value:.0%}" if unit else f"{value:,.0f}"
        parts.append(text(plot.x - 8, y + 4, words, 12, FAINT, "end"))
    seconds = (window.end - window.start).total_seconds()
    step = next((s for s in _STEPS_S if seconds / s <= plot.w / 70), _STEPS_S[-1])
    tick = window.start
    tick += timedelta(seconds=-(tick.hour * 3600 + tick.minute * 60 + tick.second) % step)
    while tick <= window.end:
        x = plot.x + plot.w * (tick - window.start).total_seconds() / seconds
        parts.append(f'<path d="M{x:.1f} {plot.y:.1f}v{plot.h:.1f}" stroke="{GRID}"/>')
        parts.append(text(x, plot.y + plot.h + 17, f"{tick:%H:%M}", 12, FAINT, "middle"))
        tick += timedelta(seconds=step)
    return "".join(parts)


def _line(plot: Box, points: Sequence[Point], fields: Fields) -> str:
    if not points:
        return ""
    color, path = color_of(None, fields), "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    if fields.get("custom.lineStyle", {}).get("fill") == "dash":
        return f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.6" stroke-dasharray="8 7"/>'
    floor = plot.y + plot.h
    area = f'<path d="M{points[0][0]:.1f} {floor:.1f}L{path}V{floor:.1f}Z" fill="{color}" fill-opacity="0.13"/>'
    return f'{area}<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round"/>'


def _bars(
    plot: Box, panel: Mapping[str, Any], frame: Frame, names: Sequence[str], at: Sequence[float], wide: float
) -> str:
    parts = []
    for row, x in enumerate(at):
        values = [frame[name][row] for name in names]
        edges = [sum(values[:n]) / (sum(values) or 1) for n in range(len(values) + 1)]
        left, right = max(x, plot.x), min(x + wide * 0.9, plot.x + plot.w)
        for name, (low, high) in zip(names, pairwise(edges), strict=True):
            bar = Box(left, plot.y + plot.h * (1 - high), max(right - left, 0.5), plot.h * (high - low))
            parts.append(rect(bar, color_of(None, fields_of(panel, name)), 'fill-opacity="0.75"'))
    return "".join(parts)


def table(box: Box, panel: Mapping[str, Any], frame: Frame, window: Window) -> str:
    """As many rows as there is room for; columns without a width share the rest."""
    widths = {name: fields_of(panel, name).get("custom.width", 0) for name in frame}
    rest = (box.w - sum(widths.values())) / max(sum(1 for w in widths.values() if not w), 1)
    parts, x = [], box.x + 6
    parts.append(f'<path d="M{box.x:.1f} {box.y + 27:.1f}h{box.w:.1f}" stroke="{EDGE}"/>')
    for name, values in frame.items():
        wide, fields = widths[name] or rest, fields_of(panel, name)
        parts.append(text(x, box.y + 18, name, 13, "#6e9fff", weight=600))
        for row, value in enumerate(values[: int((box.h - 30) // 29)]):
            y = box.y + 47 + row * 29
            words, room = shown(value, fields, window.start.tzinfo), int(wide / 6.7)
            words = words if len(words) <= room else words[: room - 1] + "…"
            parts.append(text(x, y, words, 13, color_of(value, fields)))
            parts.append(f'<path d="M{box.x:.1f} {y + 9:.1f}h{box.w:.1f}" stroke="{GRID}"/>')
        x += wide
    if not any(frame.values()):
        parts.append(text(box.x + box.w / 2, box.y + box.h / 2, "nothing is wrong", 15, FAINT, "middle"))
    return "".join(parts)


def _nice(value: float) -> float:
    if value <= 0:
        return 4.0
    unit = 10 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if step * unit >= value)
