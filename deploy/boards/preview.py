"""Owns the still preview of a board: its JSON, its queries on the store, its grid, one SVG; never passes as Grafana."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from kinestream.deploy.boards import svg
from kinestream.deploy.boards.macros import Window, expand, interval_s
from kinestream.deploy.boards.svg import Box, Frame

WIDTH: Final = 1600.0
#: Grafana's grid: 24 columns, rows of 30 px, 8 px between panels.
_COLUMNS, _ROW, _GAP, _HEAD = 24, 38.0, 8.0, 62.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
NOTE: Final = "still preview drawn from the store, not a Grafana"


def preview(
    board: Mapping[str, Any], client: Client, *, now: datetime | None = None, minutes: int = 0, note: str = NOTE
) -> str:
    """The board as SVG, every variable on All; its window is today in its zone, or the last ``minutes``."""
    zone = ZoneInfo(board["timezone"])
    end = (now or datetime.now(UTC)).astimezone(zone)
    start = end - timedelta(minutes=minutes) if minutes else end.replace(hour=0, minute=0, second=0, microsecond=0)
    window = Window(start, max(end, start + timedelta(minutes=1)))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    height = _HEAD + rows * _ROW + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
        'font-family="Inter, Helvetica, Arial, sans-serif">',
        svg.rect(Box(0, 0, WIDTH, height), svg.PAGE),
        _head(board, window, note),
        *(_panel(panel, client, window) for panel in board["panels"]),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _head(board: Mapping[str, Any], window: Window, note: str) -> str:
    parts, x = [svg.text(14, 39, board["title"], 22, weight=600)], 150.0
    for variable in board["templating"]["list"]:
        wide = 62 + 7.4 * len(variable["label"])
        parts.append(svg.rect(Box(x, 19, wide, 28), svg.SURFACE, f'rx="3" stroke="{svg.EDGE}"'))
        parts.append(svg.text(x + 10, 38, variable["label"], 13, svg.FAINT))
        parts.append(svg.text(x + wide - 12, 38, "All", 13, anchor="end"))
        x += wide + 8
    when = f"{window.start:%d %b %Y, %H:%M} to {window.end:%H:%M} {window.end.tzname()}"
    parts.append(svg.text(WIDTH - 14, 30, when, 14, anchor="end"))
    parts.append(svg.text(WIDTH - 14, 49, note, 12, svg.FAINT, "end"))
    return "".join(parts)


def _panel(panel: Mapping[str, Any], client: Client, window: Window) -> str:
    grid, cell = panel["gridPos"], (WIDTH - _GAP) / _COLUMNS
    box = Box(_GAP + grid["x"] * cell, _HEAD + grid["y"] * _ROW, grid["w"] * cell - _GAP, grid["h"] * _ROW - _GAP)
    least = panel.get("interval", "1s")
    step = interval_s(window.start, window.end, int(box.w), int(least[:-1]) * _UNITS[least[-1]])
    window = replace(window, interval_s=step)
    frames = [_ask(client, target["rawSql"], window) for target in panel["targets"]]
    inside = Box(box.x + 10, box.y + 38, box.w - 20, box.h - 46)
    if panel["type"] == "stat":
        drawn = svg.stat(inside, panel, frames, window)
    elif panel["type"] == "timeseries":
        drawn = svg.series(inside, panel, frames[0], window)
    else:
        drawn = svg.table(inside, panel, frames[0], window)
    frame = svg.rect(box, svg.SURFACE, f'rx="3" stroke="{svg.EDGE}"')
    return f"<g>{frame}{svg.text(box.x + 12, box.y + 25, panel['title'], 15, weight=600)}{drawn}</g>"


def _ask(client: Client, sql: str, window: Window) -> Frame:
    result = client.query(expand(sql, window))
    columns: list[list[Any]] = [[_aware(row[n]) for row in result.result_rows] for n in range(len(result.column_names))]
    return dict(zip(result.column_names, columns, strict=True))


def _aware(value: Any) -> Any:
    """Times of the store are UTC; clickhouse-connect leaves that out."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
