"""A process that judges computes on one thread: threads of BLAS would spin for each other on busy processors."""

import subprocess
import sys
from pathlib import Path

import pytest

PRODUCT = """
import numpy as np
a = np.ones((512, 512), np.float32)
a @ a
from pathlib import Path
print(len(list(Path("/proc/self/task").iterdir())))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as Linux shows them")
def test_a_product_of_matrices_starts_no_thread():
    done = subprocess.run(
        [sys.executable, "-c", f"from kinestream.streams import lean{PRODUCT}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin"},
        timeout=60,
    )
    assert done.stdout.strip() == "1"
