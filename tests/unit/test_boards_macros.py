"""The macro expander against what the Grafana ClickHouse plugin's own documentation shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kinestream.deploy.boards.macros import Window, expand, interval_s
from kinestream.schemas.errors import ContractError

WINDOW = Window(datetime.fromtimestamp(1415792726.123, UTC), datetime.fromtimestamp(1447328726.456, UTC), 20)


@pytest.mark.parametrize(
    ("macro", "sql"),
    [
        ("$__timeFilter(time)", "time >= toDateTime(1415792726) AND time <= toDateTime(1447328726)"),
        (
            "$__timeFilter_ms(time)",
            "time >= fromUnixTimestamp64Milli(1415792726123) AND time <= fromUnixTimestamp64Milli(1447328726456)",
        ),
        ("$__dateFilter(date)", "date >= toDate('2014-11-12') AND date <= toDate('2015-11-12')"),
        ("$__fromTime", "toDateTime(1415792726)"),
        ("$__toTime", "toDateTime(1447328726)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1415792726123)"),
        ("$__toTime_ms", "fromUnixTimestamp64Milli(1447328726456)"),
        ("$__interval_s", "20"),
        ("$__timeInterval(column)", "toStartOfInterval(toDateTime(column), INTERVAL 20 second)"),
        ("$__conditionalAll(a IN (${x:sqlstring}), $x)", "1=1"),
    ],
)
def test_macros_expand_as_the_plugin_documents_them(macro: str, sql: str) -> None:
    assert expand(f"SELECT {macro}, 1", WINDOW) == f"SELECT {sql}, 1"


def test_a_chosen_variable_is_quoted_and_cannot_leave_its_quotes() -> None:
    window = replace(WINDOW, chosen={"x": ["a", "it's"]})
    assert expand("$__conditionalAll(f(c, 1) IN (${x:sqlstring}), $x)", window) == "f(c, 1) IN ('a','it''s')"
    assert expand("$__conditionalAll(c IN (${x:singlequote}), ${x})", window) == "c IN ('a','it\\'s')"


def test_conditions_may_hold_macros_and_stand_beside_each_other() -> None:
    sql = "$__conditionalAll(a = (b < $__toTime), $x) AND $__conditionalAll(b, $y)"
    assert expand(sql, replace(WINDOW, chosen={"x": ["1"]})) == "a = (b < toDateTime(1447328726)) AND 1=1"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("$__timeGroup(x, 5m)", "$__timeGroup is no macro"),
        ("$__timeFilter(f($__toTime))", "inside another macro"),
        ("x IN (${x:sqlstring})", "outside $__conditionalAll"),
        ("$__timeFilter(x", "not closed"),
    ],
)
def test_what_the_plugin_would_not_expand_is_an_error(sql: str, said: str) -> None:
    with pytest.raises(ContractError) as problem:
        expand(sql, WINDOW)
    assert said in str(problem.value)


def test_an_unquoted_variable_is_an_error() -> None:
    with pytest.raises(ContractError, match="sqlstring"):
        expand("x IN ($x)", replace(WINDOW, chosen={"x": ["1"]}))


def test_intervals_follow_grafanas_steps() -> None:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    assert interval_s(start, start + timedelta(hours=1), 1000) == 5
    assert interval_s(start, start + timedelta(hours=24), 900, 300) == 300
    assert interval_s(start, start + timedelta(days=30), 900) == 3600
