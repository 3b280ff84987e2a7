"""The thresholds a judge applies: schemas/rules made ready; a judgement names their version. Never computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

from kinestream.schemas.errors import RulesError
from kinestream.schemas.rulebook import RuleSet, load_rules


@dataclass(frozen=True, slots=True)
class Rules:
    """Every threshold by the name it has in schemas/rules/global.yaml, which says its unit; docs/metrics.md its source.

    ``classes``: metric to G (gate, can reject), R (risk, asks for review) or I (information). ``required``: metrics
    without which an episode is UNASSESSED.
    """

    version: str
    required: tuple[str, ...]
    classes: Mapping[str, str]
    live_frames: int
    live_s: float
    rate_suspect: float
    rate_fail: float
    jitter_suspect: float
    jitter_intervals: int
    arrival_jitter_periods: float
    gap_periods: float
    gap_fail_s: float
    gap_long_s: float
    gap_long_per_minute: float
    loss_fail: float
    age_suspect_s: float
    age_fail_s: float
    ahead_s: float
    skew_ppm: float
    step_s: float
    step_window_s: float
    synthetic_frames: int
    synthetic_resolutions: float
    missing_core: float
    missing_other: float
    limit_rad: float
    limit_m: float
    limit_range: float
    limit_frames: int
    near_range: float
    near_run_s: float
    near_time: float
    speed_suspect: float
    speed_fail: float
    effort_saturated: float
    effort_fail_s: float
    frozen_suspect_s: float
    frozen_fail_s: float
    frozen_path: float
    stale_frames: int
    stale_fail_s: float
    jump_suspect: float
    jump_fail: float
    jump_least_period: float
    spike_reach_s: float
    spike_steps: float
    resolution_rad: float
    resolution_frames: int
    unit_rad: float
    unit_speed: float
    unit_effort: float
    unit_m: float
    unit_m_speed: float
    consistency_suspect: float
    consistency_fail: float
    gain_suspect: float
    consistency_speed: float
    consistency_travel: float
    delay_frames: float
    delay_correlation: float
    tracking_far: float
    offset_suspect: float
    offset_fail: float
    offset_rest_speed: float
    offset_rest_s: float
    lag_suspect_s: float
    lag_longest_s: float
    lag_motion_s: float
    lag_correlation: float
    copy_fail: float
    copy_motion_s: float
    copy_equal: float
    smooth_hz: float
    move_open: float
    move_rest: float
    move_peak: float
    move_longest_s: float
    move_frames: int
    jerk_window_s: float
    jerk_high: float
    tremor_low_hz: float
    tremor_high_hz: float
    chatter_suspect: int
    chatter_fail: int
    chatter_travel: float
    idle_speed: float
    idle_derived_speed: float
    idle_run_s: float
    idle_suspect: float
    idle_fail: float
    idle_live_s: float
    stall_suspect_s: float
    shortest_s: float
    task_z: float
    task_episodes: int
    task_spread: float
    pose_spread: float
    rest_left_speed: float
    rest_right_speed: float
    box_low_x: float
    box_low_y: float
    box_low_z: float
    box_high_x: float
    box_high_y: float
    box_high_z: float
    near_cosine: float
    near_duration: float


def rules_of(given: RuleSet) -> Rules:
    """Thresholds as the judge reads them; raises :class:`RulesError` where the file and this code name others."""
    names = {field.name for field in fields(Rules)} - {"version", "required", "classes"}
    if names != given.thresholds.keys():
        raise RulesError(
            f"rules {given.version} lack {sorted(names - given.thresholds.keys())} and have"
            f" {sorted(given.thresholds.keys() - names)} that nothing reads: name exactly what Rules has"
        )
    return Rules(given.version, given.required, given.classes, **given.thresholds)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)  # skills are what robots say: any text
def rules_for(model_id: str, skill: str = "", subtask: str = "", overlays: str = "") -> Rules:
    """The rules of an episode: the global ones, and what its model, skill, subtask and ``overlays`` change."""
    return rules_of(load_rules(model_id, skill, subtask, overlays))


BUILTIN = rules_of(load_rules())
