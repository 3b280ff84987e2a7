"""Every query of the committed board on the real engine, as the account that only reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kinestream.deploy.boards.catalogue import BOARDS
from kinestream.deploy.boards.macros import Window, expand
from kinestream.deploy.boards.sql import HubPulse
from kinestream.deploy.store import migrations
from kinestream.streams.store import tables
from tests.floor import G1, R1, Floor, busy_day
from tests.plugins.store import Store

BOARD = json.loads(BOARDS["hub-pulse"].path.read_text(encoding="utf-8"))
SQL = HubPulse("UTC", 50_000)
PANELS = {f"{p['title']} {t['refId']}": t["rawSql"] for p in BOARD["panels"] for t in p["targets"]}
CHOICES = {v["name"]: v["query"]["rawSql"] for v in BOARD["templating"]["list"]}
DATABASE = "boards"

# A Friday at 18:00 in UTC; robots are looked at by the store's own clock.
END = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
DAY = Window(END.replace(hour=0), END, interval_s=300)


def ago(**time: float) -> datetime:
    return END - timedelta(**time)


def fill(floor: Floor) -> None:
    for minutes in (1, 2, 3, 10, 40):  # five whole episodes of the last hour, three of them in the last five minutes
        floor.episode(ago(minutes=minutes))
    floor.episode(ago(minutes=70))
    floor.episode(ago(hours=5), "r1-01", model_id=R1, area="logistics", skill="place", verdict="REVIEW")
    floor.episode(ago(hours=5, minutes=1), "r1-01", model_id=R1, area="logistics", skill="place", verdict="REJECT")
    floor.episode(ago(hours=5, minutes=2), status="INCOMPLETE", verdict="REVIEW")
    floor.episode(ago(hours=5, minutes=3), status="TIMED_OUT", verdict="UNASSESSED")
    floor.episode(ago(hours=5, minutes=4), status="CORRUPT", verdict="REJECT")
    floor.episode(ago(hours=18, minutes=-0.1))  # 00:00:06, begun yesterday
    floor.episode(ago(hours=18.5))  # 23:30 yesterday
    floor.episode(ago(hours=3), episode_id="late", status="INCOMPLETE", verdict="REVIEW")
    floor.finding(ago(minutes=2), joint="a", metric="I8", flag="SUSPECT", message="suspect")
    floor.finding(ago(minutes=20), joint="b", metric="I1", flag="FAIL", message="older")
    floor.finding(ago(minutes=10), joint="b", metric="I1", flag="FAIL", message="newer")
    floor.finding(
        ago(minutes=3), "r1-01", joint="c", metric="I3", flag="FAIL", message="other robot", skill="place", model_id=R1
    )
    floor.finding(ago(minutes=5), joint="d", state="CLEARED")
    floor.finding(ago(minutes=31), joint="e")
    now = datetime.now(UTC)
    floor.robot(now + timedelta(seconds=300), "g1-01", recording=True)  # stays fresh however long the tests take
    floor.robot(now + timedelta(seconds=300), "g1-02")
    floor.robot(now - timedelta(minutes=2), "r1-01", recording=True, model=R1)
    floor.robot(now - timedelta(days=2), "gone")
    floor.in_flight("OPEN", 2)
    floor.in_flight("ENDED")
    floor.in_flight("CLOSED")


@pytest.fixture(scope="module")
def floor(store: Store) -> Iterator[Store]:
    client = replace(store, database="").client()
    migrations.apply(client, DATABASE)
    filled = replace(store, database=DATABASE)
    written = Floor()
    fill(written)
    written.write(filled.client())
    second = Floor()  # late frames made a second revision, whole; both rows are there until a merge
    second.episode(ago(hours=3), episode_id="late", revision=2)
    second.write(filled.client())
    yield filled
    client.command(f"DROP DATABASE {DATABASE} SYNC")
    client.close()


def ask(store: Store, sql: str, window: Window = DAY) -> list[dict[str, Any]]:
    client = store.reader_client()
    try:
        result = client.query(expand(sql, window))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    finally:
        client.close()


def one(store: Store, sql: str, window: Window = DAY) -> dict[str, Any]:
    (row,) = ask(store, sql, window)
    return row


def chosen(**values: str) -> Window:
    return replace(DAY, chosen={name: [value] for name, value in values.items()})


VIEWS = {
    "all": DAY,
    "area": chosen(area="household"),
    "skill": chosen(skill="grasp"),
    "model": chosen(model=G1),
    "each": chosen(area="household", skill="grasp", model=G1),
    "quote": chosen(area="it's", skill="O'", model="'"),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", [*PANELS, *CHOICES])
def test_every_query_runs_as_the_reader_whatever_is_chosen(floor: Store, name: str, view: str) -> None:
    rows = ask(floor, {**PANELS, **CHOICES}[name], VIEWS[view])
    if view == "each":
        assert rows


@pytest.mark.parametrize("name", PANELS)
def test_an_empty_store_gives_no_error_and_no_value_that_is_not_a_number(database: Store, name: str) -> None:
    for row in ask(database, PANELS[name]):
        assert all(value is None or value == value for value in row.values())
        assert not any(str(value) in ("nan", "inf", "-inf") for value in row.values())


def test_the_variables_offer_what_was_recorded(floor: Store) -> None:
    found = {name: [next(iter(row.values())) for row in ask(floor, sql)] for name, sql in CHOICES.items()}
    assert found == {"area": ["household", "logistics"], "skill": ["grasp", "place"], "model": [R1, G1]}


def test_today_counts_whole_episodes_once_and_projects_the_last_hour(floor: Store) -> None:
    assert one(floor, SQL.today()) == {
        "Whole episodes": 10,  # six, two by r1-01, the first after midnight, the late one
        "By midnight": 10 + 5 * 6,
        "Needed an hour": 8332,  # (50,000 - 10) / 6 hours, rounded up
    }
    assert one(floor, SQL.today(), chosen(area="logistics"))["Whole episodes"] == 2


def test_today_begins_at_midnight_of_the_chosen_zone(floor: Store) -> None:
    # 18:00 in UTC is 02:00 in Shanghai: only the last two hours are today, and 22 are left.
    row = one(floor, HubPulse("Asia/Shanghai", 50_000).today())
    assert row["Whole episodes"] == 6
    assert row["By midnight"] == 6 + 5 * 22


def test_nothing_is_needed_once_the_goal_is_reached(floor: Store) -> None:
    assert one(floor, HubPulse("UTC", 10).today())["Needed an hour"] == 0


def test_pace_is_a_rate_in_each_interval_with_zeros_where_nothing_came(floor: Store) -> None:
    rows = ask(floor, SQL.pace())
    assert len(rows) == 18 * 12  # one each five minutes; the interval that begins at 18:00 is not a minute old
    assert {round(row["Needed for 50,000 a day"], 2) for row in rows} == {2083.33}
    rates = {row["time"].strftime("%H:%M"): row["Whole episodes an hour"] for row in rows}
    assert rates["17:55"] == pytest.approx(3 * 12)
    assert rates["17:50"] == pytest.approx(12)
    assert rates["16:00"] == 0
    assert rates["13:00"] == pytest.approx(12)
    assert sum(rates.values()) == pytest.approx(10 * 12)


def test_pace_divides_the_running_interval_by_the_time_it_has_lasted(floor: Store) -> None:
    window = Window(DAY.start, END - timedelta(minutes=3), interval_s=300)  # 17:57, two minutes into 17:55
    assert ask(floor, SQL.pace(), window)[-1]["Whole episodes an hour"] == pytest.approx(1 * 3600 / 121)


def test_on_a_busy_day_the_panels_agree_with_the_rows_and_with_each_other(database: Store) -> None:
    day = busy_day(END, goal=1000)
    day.write(database.client())
    counted = Counter((row["status"] == "COMPLETE", row["verdict"]) for row in day.episodes)
    whole = sum(number for (complete, _), number in counted.items() if complete)
    assert whole > 500
    assert one(database, SQL.today())["Whole episodes"] == whole
    assert sum(row["Whole episodes an hour"] for row in ask(database, SQL.pace())) == pytest.approx(whole * 12)
    hourly = ask(database, SQL.verdicts(), replace(DAY, interval_s=3600))
    for verdict in ("ACCEPT", "REVIEW", "REJECT", "UNASSESSED"):
        assert sum(row[verdict] for row in hourly) == counted[True, verdict] + counted[False, verdict]
    by_area = [one(database, SQL.today(), chosen(area=a))["Whole episodes"] for a in ("household", "logistics")]
    by_area.append(one(database, SQL.today(), chosen(area="healthcare"))["Whole episodes"])
    assert sum(by_area) == whole
    assert all(by_area)


def test_robots_are_recording_idle_or_silent_and_forgotten_after_a_day(floor: Store) -> None:
    assert one(floor, SQL.robots()) == {"Recording": 1, "Idle": 1, "Silent": 1}
    assert one(floor, SQL.robots(), chosen(model=R1)) == {"Recording": 0, "Idle": 0, "Silent": 1}


def test_robots_of_an_area_are_those_that_recorded_in_it(floor: Store) -> None:
    assert one(floor, SQL.robots(), chosen(area="household")) == {"Recording": 1, "Idle": 0, "Silent": 0}


def test_verdicts_are_rates_of_the_latest_revisions(floor: Store) -> None:
    rows = ask(floor, SQL.verdicts(), replace(DAY, interval_s=3600))
    at = {row.pop("time").hour: row for row in rows}
    assert at[12] == {"ACCEPT": 0, "REVIEW": 1, "REJECT": 2, "UNASSESSED": 1}
    assert at[15] == {"ACCEPT": 1, "REVIEW": 0, "REJECT": 0, "UNASSESSED": 0}
    assert at[17]["ACCEPT"] == 5


def test_the_worst_findings_are_failures_first_then_the_newest(floor: Store) -> None:
    rows = ask(floor, SQL.worst())
    assert [(r["How bad"], r["Robot"], r["Joint"], r["What is wrong"], r["Takes"]) for r in rows] == [
        ("FAIL", "r1-01", "c", "other robot", 1),
        ("FAIL", "g1-01", "b", "newer", 2),
        ("SUSPECT", "g1-01", "a", "suspect", 1),
    ]
    assert rows[0]["When"].replace(tzinfo=UTC) == ago(minutes=3)
    assert [r["Robot"] for r in ask(floor, SQL.worst(), chosen(area="logistics"))] == ["r1-01"]


def test_the_pipeline_says_what_is_in_flight_and_what_is_not_whole(floor: Store) -> None:
    assert one(floor, SQL.in_flight()) == {"Open": 3, "Unannounced": 1}
    assert one(floor, SQL.broken()) == {"Incomplete": 2, "Corrupt": 1}


def test_the_delay_is_the_age_of_the_newest_word_and_nothing_without_a_robot(database: Store) -> None:
    assert one(database, SQL.delay()) == {"Delay": None}
    floor = Floor()
    floor.robot(datetime.now(UTC) - timedelta(seconds=100), "old")
    floor.robot(datetime.now(UTC) - timedelta(seconds=40), "new")
    database.client().insert_arrow("robot_live", tables.robot_live(floor.robots))
    assert 40 <= one(database, SQL.delay())["Delay"] < 60


@pytest.mark.parametrize(
    "name", [n for n, sql in PANELS.items() if "FROM episodes FINAL" in sql or "FROM findings" in sql]
)
def test_panels_read_only_the_days_they_show(floor: Store, name: str) -> None:
    plan = "\n".join(row["explain"] for row in ask(floor, f"EXPLAIN indexes = 1 {PANELS[name]}"))
    partitions, key = plan.split("Partition")[1], plan.split("PrimaryKey")[1]
    assert "stored_day" in partitions.split("Condition")[1].splitlines()[0]
    assert "stored_day" in key.split("Condition")[1].splitlines()[0]
