"""Owns the SQL of Hub pulse, with the macros of the Grafana ClickHouse plugin; opens no connection.

Three rules learnt the hard way. An aggregate is never aliased to a filtered column (error 184, and only while a
variable is not All). Every query bounds ``stored_day``, the first column of the key: it is the UTC day of an episode's
first record, so a window in any zone begins a day earlier. Rates, not counts: a count changes with the zoom.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Final

#: One multi-value variable each, over the column of the same meaning.
VARIABLES: Final = {"area": "area", "skill": "skill", "model": "model_id"}

# The day at the end of the window: "today" while the window ends now, yesterday for who looks at yesterday.
_TODAY: Final = "toStartOfDay($__toTime, '{zone}')"
_UTC_DAY: Final = "toDate($__toTime, 'UTC')"


def _chosen(*names: str) -> list[str]:
    return [f"AND $__conditionalAll({VARIABLES[n]} IN (${{{n}:sqlstring}}), ${n})" for n in names]


def _robots_of(*names: str) -> list[str]:
    """Robots have no area or skill of their own: those that recorded in the chosen ones since yesterday count."""
    recorded = f"SELECT robot_id FROM episodes WHERE stored_day >= {_UTC_DAY} - 1"
    return [
        f"AND $__conditionalAll(robot_id IN ({recorded} AND {VARIABLES[n]} IN (${{{n}:sqlstring}})), ${n})"
        for n in names
    ]


@dataclass(frozen=True, slots=True)
class HubPulse:
    """The queries of the board for one zone (IANA name) and one goal (whole episodes a day)."""

    zone: str
    goal: int

    def variable(self, name: str) -> str:
        """The values to choose from: what was recorded in the window. An empty label is only in "All"."""
        return self._sql("""
            SELECT DISTINCT {column} FROM episodes
            WHERE stored_day >= toDate($__fromTime, 'UTC') - 1 AND stored_day <= toDate($__toTime, 'UTC')
              AND {column} != ''
            ORDER BY {column}""").replace("{column}", VARIABLES[name])

    def today(self) -> str:
        """One row: whole episodes so far, at midnight if the last hour goes on, and what is needed an hour."""
        return self._sql(
            """
            WITH
              {today} AS day_start,
              dateDiff('second', $__toTime, day_start + INTERVAL 1 DAY) / 3600 AS hours_left,
              countIf(ended_at >= day_start) AS done,
              countIf(ended_at > $__toTime - 3600) AS last_hour
            SELECT
              done AS "Whole episodes",
              round(done + last_hour * hours_left) AS "By midnight",
              ceil(greatest({goal} - done, 0) / greatest(hours_left, 1)) AS "Needed an hour"
            FROM episodes FINAL
            WHERE stored_day >= toDate($__toTime, 'UTC') - 2 AND stored_day <= toDate($__toTime, 'UTC')
              AND ended_at >= least(day_start, $__toTime - 3600) AND ended_at <= $__toTime
              AND status = 'COMPLETE'
              {conditions}""",
            _chosen("area", "skill", "model"),
        )

    def pace(self) -> str:
        """``time``, episodes an hour in each interval, and the even pace of the goal.

        The running interval counts over the time it has lasted, once that is a minute: no dip at the right edge.
        """
        return self._sql(
            """
            SELECT time, per_hour AS "Whole episodes an hour", {goal} / 24 AS "Needed for {goal:,} a day"
            FROM (
              SELECT
                $__timeInterval(ended_at) AS time,
                count() * 3600 / least($__interval_s, dateDiff('second', time, $__toTime) + 1) AS per_hour
              FROM episodes FINAL
              WHERE stored_day >= toDate($__fromTime, 'UTC') - 1 AND stored_day <= toDate($__toTime, 'UTC')
                AND $__timeFilter(ended_at)
                AND status = 'COMPLETE'
                {conditions}
              GROUP BY time
              HAVING time < $__toTime - 60
              ORDER BY time WITH FILL
                FROM toStartOfInterval($__fromTime, INTERVAL $__interval_s second)
                TO $__toTime - 60
                STEP toIntervalSecond($__interval_s)
            )
            ORDER BY time""",
            _chosen("area", "skill", "model"),
        )

    def robots(self) -> str:
        """One row: robots that record, that stand by, and that said nothing for 5 s, of those seen in a day."""
        return self._sql(
            """
            SELECT
              countIf(seen_at >= now64(3) - 5 AND recording != '') AS "Recording",
              countIf(seen_at >= now64(3) - 5 AND recording = '') AS "Idle",
              countIf(seen_at < now64(3) - 5) AS "Silent"
            FROM robot_live FINAL
            WHERE seen_at >= now64(3) - 86400
              {conditions}""",
            [*_chosen("model"), *_robots_of("area", "skill")],
        )

    def verdicts(self) -> str:
        """``time`` and closed episodes an hour of each verdict; the panel stacks them to 100 %."""
        return self._sql(
            """
            SELECT
              $__timeInterval(ended_at) AS time,
              countIf(verdict = 'ACCEPT') * 3600 / $__interval_s AS "ACCEPT",
              countIf(verdict = 'REVIEW') * 3600 / $__interval_s AS "REVIEW",
              countIf(verdict = 'REJECT') * 3600 / $__interval_s AS "REJECT",
              countIf(verdict = 'UNASSESSED') * 3600 / $__interval_s AS "UNASSESSED"
            FROM episodes FINAL
            WHERE stored_day >= toDate($__fromTime, 'UTC') - 1 AND stored_day <= toDate($__toTime, 'UTC')
              AND $__timeFilter(ended_at)
              {conditions}
            GROUP BY time
            ORDER BY time""",
            _chosen("area", "skill", "model"),
        )

    def worst(self) -> str:
        """Findings of the last half hour that were not cleared: the latest of each robot, joint and metric."""
        return self._sql(
            """
            SELECT
              fromUnixTimestamp64Milli(max(broker_ms), 'UTC') AS "When",
              argMax(flag, broker_ms) AS "How bad",
              robot_id AS "Robot",
              joint AS "Joint",
              metric AS "Metric",
              argMax(message, broker_ms) AS "What is wrong",
              uniqExact(episode_id) AS "Takes"
            FROM findings FINAL
            WHERE stored_day >= toDate($__toTime, 'UTC') - 1 AND stored_day <= toDate($__toTime, 'UTC')
              AND broker_ms > toUnixTimestamp($__toTime - 1800) * 1000
              AND broker_ms < toUnixTimestamp($__toTime + 1) * 1000
              AND state != 'CLEARED'
              {conditions}
            GROUP BY robot_id, joint, metric
            ORDER BY "How bad" = 'FAIL' DESC, "When" DESC, robot_id, joint, metric
            LIMIT 20""",
            [*_chosen("skill", "model"), *_robots_of("area")],
        )

    def delay(self) -> str:
        """One row: seconds since the newest word of any robot became readable; NULL without a robot in a day."""
        return self._sql("""
            SELECT if(count() = 0, NULL, greatest(toFloat64(now64(3)) - toFloat64(max(seen_at)), 0)) AS "Delay"
            FROM robot_live
            WHERE seen_at >= now64(3) - 86400""")

    def in_flight(self) -> str:
        """One row: episodes that are open, and those closed that no consumer can have heard of yet."""
        return self._sql("""
            SELECT countIf(phase != 'CLOSED') AS "Open", countIf(phase = 'CLOSED') AS "Unannounced"
            FROM journal FINAL""")

    def broken(self) -> str:
        """One row: episodes of today that are not whole, by why."""
        return self._sql("""
            WITH {today} AS day_start
            SELECT
              countIf(status IN ('INCOMPLETE', 'TIMED_OUT')) AS "Incomplete",
              countIf(status = 'CORRUPT') AS "Corrupt"
            FROM episodes FINAL
            WHERE stored_day >= toDate($__toTime, 'UTC') - 2 AND stored_day <= toDate($__toTime, 'UTC')
              AND ended_at >= day_start AND ended_at <= $__toTime""")

    def _sql(self, template: str, conditions: Sequence[str] = ()) -> str:
        lines = dedent(template).strip().replace("{today}", _TODAY).replace("{zone}", self.zone)
        lines = lines.replace("{goal:,}", f"{self.goal:,}").replace("{goal}", str(self.goal))
        return re.sub(r"( *)\{conditions\}", lambda at: "\n".join(at[1] + one for one in conditions), lines)
