"""Owns the board Hub pulse: what the shift lead sees on the wall, in six panels; the SQL is in sql.py."""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from kinestream.deploy.boards.clickhouse import Query, datasource
from kinestream.deploy.boards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    by_threshold,
    fixed,
    line_panel,
    share_panel,
    stat_panel,
    table_panel,
)
from kinestream.deploy.boards.sql import VARIABLES, HubPulse
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings

UID: Final = "kinestream-hub-pulse"
TITLE: Final = "Hub pulse"


def build(settings: Settings) -> Any:
    """The board for the zone and the goal of ``settings``."""
    _check(settings)
    sql = HubPulse(settings.timezone, settings.daily_goal)
    board = dash.Dashboard(TITLE).uid(UID).tags(["kinestream"])
    board.description("Is the hub on pace today, which robots are silent, which takes are bad, is the pipeline well?")
    # Grafana refuses to refresh more often than every 5 s unless min_refresh_interval is set.
    board.timezone(settings.timezone).time("now/d", "now").refresh("5s").tooltip(DashboardCursorSync.CROSSHAIR)
    for name in VARIABLES:
        board.with_variable(_variable(name, sql))
    for number, panel in enumerate(_panels(sql), 1):
        board.with_panel(panel.id(number))
    return board.build()


def _check(settings: Settings) -> None:
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError) as problem:
        raise SettingError(
            f"KINESTREAM_TIMEZONE={settings.timezone!r} is no time zone: give a name such as Asia/Shanghai or UTC"
        ) from problem
    if settings.daily_goal < 1:
        raise SettingError(f"KINESTREAM_DAILY_GOAL={settings.daily_goal}: give 1 or more")


def _variable(name: str, sql: HubPulse) -> Any:
    query: dict[str, object] = {"editorType": "sql", "queryType": "table", "format": 1, "rawSql": sql.variable(name)}
    variable = dash.QueryVariable(name).label(name.capitalize()).datasource(datasource()).query(query)
    variable.definition(sql.variable(name)).multi(True).include_all(True)
    variable.current(VariableOption(True, ["All"], ["$__all"])).sort(VariableSort.DISABLED)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def _panels(sql: HubPulse) -> list[Any]:
    return [_today(sql), _robots(sql), _pipeline(sql), _pace(sql), _verdicts(sql), _worst(sql)]


def _today(sql: HubPulse) -> Any:
    return stat_panel(
        f"Today against {sql.goal:,}",
        f"Whole episodes (status COMPLETE) since midnight, {sql.zone}. By midnight: if the last hour goes on. "
        "Needed: what each remaining hour must bring.",
        (0, 0, 9, 5),
        [Query(sql.today())],
        {
            "Whole episodes": fixed(BLUE, unit="locale", decimals=0),
            "By midnight": by_threshold(
                (None, RED), (0.9 * sql.goal, ORANGE), (sql.goal, GREEN), unit="locale", decimals=0
            ),
            "Needed an hour": fixed("text", unit="locale", decimals=0),
        },
    )


def _robots(sql: HubPulse) -> Any:
    return stat_panel(
        "Robots now",
        "By the status each robot sends once a second. Silent: nothing for 5 s, but seen within a day. With an area or "
        "skill chosen: the robots that recorded in it since yesterday.",
        (9, 0, 6, 5),
        [Query(sql.robots())],
        {
            "Recording": fixed(GREEN),
            "Idle": fixed(BLUE),
            "Silent": by_threshold((None, GREY), (1, RED)),
        },
    )


def _pipeline(sql: HubPulse) -> Any:
    return stat_panel(
        "Pipeline, whole hub",
        "Delay: age of the newest word of any robot in the store; about a second is normal. Open: takes in flight. "
        "Unannounced: closed, but the event is not yet out. Incomplete (or TIMED_OUT) and Corrupt: closed today. The "
        "choices above change nothing here.",
        (15, 0, 9, 5),
        [Query(sql.delay()), Query(sql.in_flight(), ref_id="B"), Query(sql.broken(), ref_id="C")],
        {
            "Delay": by_threshold((None, GREEN), (3, ORANGE), (15, RED), unit="s", decimals=1),
            "Open": fixed(BLUE),
            "Unannounced": by_threshold((None, GREEN), (20, ORANGE), (200, RED)),
            # One take in a thousand is the floor's daily bread, one in a hundred is a fault.
            "Incomplete": by_threshold((None, GREEN), (sql.goal // 1000 + 1, ORANGE), (sql.goal // 100 + 1, RED)),
            "Corrupt": by_threshold((None, GREEN), (1, RED)),
        },
    )


def _pace(sql: HubPulse) -> Any:
    return line_panel(
        "Pace",
        f"Whole episodes an hour. The dashed line is the even pace of {sql.goal:,} in 24 hours.",
        (0, 5, 14, 9),
        Query(sql.pace(), "timeseries"),
        {
            "Whole episodes an hour": fixed(BLUE),
            f"Needed for {sql.goal:,} a day": fixed(
                YELLOW,
                **{"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "custom.fillOpacity": 0},
            ),
        },
        interval="5m",
        unit="locale",
    )


def _verdicts(sql: HubPulse) -> Any:
    return share_panel(
        "Verdicts",
        "Share of each verdict among the episodes closed in an interval; the tooltip shows episodes an hour.",
        (14, 5, 10, 9),
        Query(sql.verdicts(), "timeseries"),
        {
            "ACCEPT": fixed(GREEN),
            "REVIEW": fixed(ORANGE),
            "REJECT": fixed(RED),
            "UNASSESSED": fixed(GREY),
        },
        interval="15m",
    )


def _worst(sql: HubPulse) -> Any:
    colors = {
        "FAIL": {"color": RED, "index": 0, "text": "FAIL"},
        "SUSPECT": {"color": ORANGE, "index": 1, "text": "SUSPECT"},
    }
    return table_panel(
        "Worst findings now",
        "What is wrong in the takes of the last half hour and was not cleared: failures first, then the newest; one "
        "line for each robot, joint and metric.",
        (0, 14, 24, 9),
        Query(sql.worst()),
        {
            "When": {"unit": "time:HH:mm:ss", "custom.width": 100},
            "How bad": {
                "mappings": [{"type": "value", "options": colors}],
                "custom.cellOptions": {"type": "color-text"},
                "custom.width": 100,
            },
            "Robot": {"custom.width": 160},
            "Joint": {"custom.width": 230},
            "Metric": {"custom.width": 80},
            "Takes": {"custom.width": 80},
        },
    )
