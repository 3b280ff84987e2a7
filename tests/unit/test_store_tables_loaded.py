"""Making rows imports nothing: an import inside the worker's loop held every partition up for two seconds."""

from __future__ import annotations

import subprocess
import sys

MAKE_ROWS = """
import sys
from kinestream.streams.store import tables

status = {"tenant": "t", "robot_id": "r", "model_id": "m", "boot_id": "b", "recording": "", "unsent_episodes": [],
          "buffered_bytes": 0, "clock_source": "NTP", "clock_offset_s": None}
before = set(sys.modules)
tables.robot_live([(1, status)])
tables.journal([], [])
print(len(set(sys.modules) - before))
"""


def test_rows_are_made_without_an_import() -> None:
    done = subprocess.run([sys.executable, "-c", MAKE_ROWS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"
