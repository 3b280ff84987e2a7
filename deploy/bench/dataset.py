"""A LeRobot v2.1 data set for measuring graders of files: made of simulated takes, never of anybody's recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kinestream.producers.fleet.motion import known_model, plan_reaches
from kinestream.producers.fleet.take import Take, sense, stamps
from kinestream.schemas.frames import Float32

MODEL: Final = "unitree-g1-29-dof"
RATE_HZ: Final = 30.0
#: Frames of a take: 18 to 25 seconds; 500 of them are about 113 MB.
SHORTEST, LONGEST = 540, 740
#: How many motions there are; further takes repeat them with sensor noise of their own.
_MOTIONS: Final = 16
_NOISE: Final = 2e-5
_FILES: Final = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"


def write_dataset(folder: Path, episodes: int, seed: int = 1) -> int:
    """Write ``episodes`` takes of 29 joints, state and action, at 30 Hz; returns the frames in all."""
    rng = np.random.default_rng(seed)
    plans = [plan_reaches(rng, known_model(MODEL), LONGEST / RATE_HZ + 1) for _ in range(min(_MOTIONS, episodes))]
    motions = [sense(rng, known_model(MODEL), plan, stamps(rng, LONGEST, RATE_HZ)) for plan in plans]
    lengths = [int(rng.integers(SHORTEST, LONGEST + 1)) for _ in range(episodes)]
    stats, first = [], 0
    for number, frames in enumerate(lengths):
        table = _table(rng, motions[number % len(motions)], number, frames, first)
        path = folder / _FILES.format(episode_chunk=number // 1000, episode_index=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({name: _column(values) for name, values in table.items()}), path)
        stats.append({"episode_index": number, "stats": {name: _stats(values) for name, values in table.items()}})
        first += frames
    _write_meta(folder / "meta", lengths, stats)
    return first


def _table(rng: np.random.Generator, motion: Take, number: int, frames: int, first: int) -> dict[str, Any]:
    def noisy(values: Float32) -> Float32:
        sensed = values[:frames] + rng.normal(0, _NOISE, (frames, values.shape[1]))
        return sensed.astype(np.float32)

    return {
        "observation.state": noisy(motion.position),
        "action": noisy(motion.command),
        "timestamp": (motion.t_ns[:frames] / 1e9).astype(np.float32),
        "frame_index": np.arange(frames),
        "episode_index": np.full(frames, number),
        "index": np.arange(first, first + frames),
        "task_index": np.zeros(frames, np.int64),
    }


def _column(values: Any) -> Any:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _stats(values: Any) -> dict[str, Any]:
    rows = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    return {name: one.tolist() for name, one in found.items()} | {"count": [len(rows)]}


def _write_meta(meta: Path, lengths: list[int], stats: list[dict[str, Any]]) -> None:
    meta.mkdir(parents=True, exist_ok=True)
    names = list(known_model(MODEL).joint_names)
    joints = {"dtype": "float32", "shape": [len(names)], "names": names, "unit": "rad"}
    counters = {
        name: {"dtype": "int64", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index")
    }
    info = {
        "codebase_version": "v2.1",
        "robot_type": MODEL,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 1,
        "total_videos": 0,
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": int(RATE_HZ),
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": _FILES,
        "video_path": None,
        "features": {
            "observation.state": joints,
            "action": joints,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **counters,
        },
    }
    (meta / "info.json").write_text(json.dumps(info, indent=1))
    _lines(meta / "tasks.jsonl", [{"task_index": 0, "task": "reach"}])
    rows = [{"episode_index": i, "tasks": ["reach"], "length": n} for i, n in enumerate(lengths)]
    _lines(meta / "episodes.jsonl", rows)
    _lines(meta / "episodes_stats.jsonl", stats)


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
