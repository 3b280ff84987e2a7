"""Damaged recordings: each reader answers with the values or with one sentence, soon and in bounded memory."""

import json
import subprocess
import sys

from tests.plugins.recording_files import FORMATS


def test_a_damaged_copy_of_any_format_is_read_or_refused_in_one_sentence():
    """Each format in a process of its own (3 GiB of address space, 20 s of CPU), so that a crash is seen."""
    command = [sys.executable, "-m", "tests.apps.read_damaged"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert set(found) == set(FORMATS)
    assert {name: f for name, f in found.items() if f["exit"] or f["wrong"]} == {}
    assert all(f["frames"] > 0 and f["refused"] > 2 for f in found.values())
