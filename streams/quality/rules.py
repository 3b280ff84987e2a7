"""The thresholds as data: a judgement names the version it was made by. Never computes."""

from __future__ import annotations

from dataclasses import dataclass

#: G can reject, R asks for review, I only informs
CLASSES = {
    "T1": "G",
    "T2": "R",
    "T4": "G",
    "T5": "G",
    "T6": "G",
    "T11": "I",
    "I1": "G",
    "I3": "G",
    "I8": "G",
    "E6": "G",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Every threshold with its unit; docs/metrics.md says where each comes from."""

    version: str = "builtin-1"
    #: metrics without which an episode is UNASSESSED
    required: tuple[str, ...] = ("T5", "I1", "I3", "E6")
    #: T1: relative error of the rate
    rate_suspect: float = 0.1
    rate_fail: float = 0.3
    #: T2: standard deviation of the period, in nominal periods
    jitter_suspect: float = 0.1
    #: T2: intervals needed
    jitter_intervals: int = 100
    #: T4: nominal periods above which an interval is a gap
    gap_periods: float = 2.5
    #: T4: seconds of one gap that fail
    gap_fail_s: float = 0.5
    #: T4: seconds of a long gap, and how many of them a minute are allowed
    gap_long_s: float = 0.1
    gap_long_per_minute: float = 5.0
    #: T5: share of frames lost
    loss_fail: float = 0.01
    #: T11: frames needed, and stamp resolutions a stamp may stray from index/rate
    synthetic_frames: int = 100
    synthetic_resolutions: float = 2.0
    #: I1: share of a joint's values; position fails at the first
    missing_core: float = 0.05
    missing_other: float = 0.2
    #: I3: how far beyond a limit is beyond it: rad, m, and share of the range
    limit_rad: float = 0.005
    limit_m: float = 0.001
    limit_range: float = 0.002
    #: I3: consecutive frames beyond
    limit_frames: int = 2
    #: I3: share of the range that is near, seconds a run of it lasts, share of the time spent in such runs
    near_range: float = 0.02
    near_run_s: float = 0.2
    near_time: float = 0.1
    #: I8: multiples of the joint's fastest speed
    jump_suspect: float = 1.0
    jump_fail: float = 2.0
    #: I8: nominal periods an interval counts at least, so that an uneven stamp is not read as a fast joint
    jump_least_period: float = 0.5
    #: E6: seconds
    shortest_s: float = 1.0
    #: shares and rates are judged live only over at least so many frames and seconds
    live_frames: int = 100
    live_s: float = 1.0


BUILTIN = Rules()
