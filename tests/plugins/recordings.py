"""Recordings to read: the real ones beside the repository, which may be absent, and a little data set of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "data" / "recordings"
NAMES = ["kRightElbow", "kLeftElbow", "kLeftHandPinky"]


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of the recordings; mark the test with ``recordings``."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"the real recordings are not beside the repository ({RECORDINGS.relative_to(ROOT.parent)})")
    return RECORDINGS


def columns(frames: int = 5, seed: int = 0) -> dict[str, Any]:
    """Three values a frame: two joints, not in the model's order, and one of a hand."""
    rng = np.random.default_rng(seed)
    return {
        "observation.state": rng.normal(size=(frames, 3)).astype(np.float32),
        "action": rng.normal(size=(frames, 3)).astype(np.float32),
        "timestamp": (np.arange(frames) / 30).astype(np.float32),
        "frame_index": np.arange(frames),
    }


def write_episode(folder: Path, number: int, values: dict[str, Any]) -> Path:
    path = folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({k: pa.array(list(v)) for k, v in values.items()}), path)
    return path


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A sound data set of three declared episodes, of which the second is not there."""
    folder = tmp_path / "little"
    (folder / "meta").mkdir(parents=True)
    info = {
        "codebase_version": "v2.1",
        "robot_type": "Unitree_G1_Inspire",
        "total_episodes": 3,
        "chunks_size": 1000,
        "fps": 30,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "features": {"observation.state": {"names": [NAMES]}, "action": {"names": [NAMES]}},
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    rows = [json.dumps({"episode_index": i, "tasks": [f"task {i}"], "length": 5}) for i in range(3)]
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(rows))
    for number in (0, 2):
        write_episode(folder, number, columns(seed=number))
    return folder
