"""Owns how panels look: colours, thresholds, overrides, on top of the foundation SDK; knows nothing of any board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    Threshold,
    ThresholdsMode,
)

from kinestream.deploy.boards.clickhouse import Query, datasource

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
GREY: Final = "#8e8e8e"
#: What a panel shows where there is nothing to show.
NOTHING: Final = "–"

Field = dict[str, Any]
Box = tuple[int, int, int, int]


def fixed(color: str, **more: Any) -> Field:
    """One colour whatever the value; ``more`` are further properties of the field."""
    return {"color": {"mode": "fixed", "fixedColor": color}, **more}


def by_threshold(*steps: tuple[float | None, str], **more: Any) -> Field:
    """Coloured by value: (from this value on, colour), the first from None."""
    shown = [{"value": value, "color": color} for value, color in steps]
    return {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": shown}, **more}


def stat_panel(title: str, about: str, box: Box, queries: Sequence[Query], fields: Mapping[str, Field]) -> Any:
    """One big number a column, all queries beside each other."""
    panel = stat.Panel().color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.NONE)
    panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME).justify_mode(common.BigValueJustifyMode.CENTER)
    panel.orientation(common.VizOrientation.VERTICAL)
    panel.reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    # The SDK writes the first step, from minus infinity, as Grafana stores it: null.
    panel.thresholds(dash.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(None, "text")]))
    return _finish(panel, title, about, box, queries, fields)


def line_panel(
    title: str, about: str, box: Box, query: Query, fields: Mapping[str, Field], *, interval: str, unit: str
) -> Any:
    """Lines over time; ``interval`` is the least width of a point, such as "5m"."""
    panel = timeseries.Panel().interval(interval).unit(unit).min(0)
    panel.line_width(2).fill_opacity(12).line_interpolation(common.LineInterpolation.LINEAR)
    panel.show_points(common.VisibilityMode.NEVER)
    return _finish(_legend(panel), title, about, box, [query], fields)


def share_panel(title: str, about: str, box: Box, query: Query, fields: Mapping[str, Field], *, interval: str) -> Any:
    """Bars stacked to 100 %."""
    panel = timeseries.Panel().interval(interval).draw_style(common.GraphDrawStyle.BARS)
    panel.stacking(build.StackingConfig().mode(common.StackingMode.PERCENT).group("A"))
    panel.fill_opacity(80).line_width(0).bar_width_factor(0.9).min(0)
    return _finish(_legend(panel), title, about, box, [query], fields)


def table_panel(title: str, about: str, box: Box, query: Query, fields: Mapping[str, Field]) -> Any:
    """Rows as the query orders them."""
    panel = table.Panel().show_header(True).cell_height(common.TableCellHeight.SM)
    return _finish(panel, title, about, box, [query], fields)


def _legend(panel: Any) -> Any:
    bottom = build.VizLegendOptions().show_legend(True).display_mode(common.LegendDisplayMode.LIST)
    panel.legend(bottom.placement(common.LegendPlacement.BOTTOM).calcs([]))
    panel.tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.NONE))
    return panel.color_scheme(dash.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))


def _finish(panel: Any, title: str, about: str, box: Box, queries: Sequence[Query], fields: Mapping[str, Field]) -> Any:
    x, y, w, h = box
    panel.title(title).description(about).grid_pos(GridPos(h, w, x, y)).datasource(datasource()).no_value(NOTHING)
    for query in queries:
        panel.with_target(query)
    for name, properties in fields.items():
        panel.override_by_name(name, [DynamicConfigValue(key, value) for key, value in properties.items()])
    return panel
