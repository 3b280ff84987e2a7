"""The real recordings beside the repository; they are not part of it, and a test that reads them may be skipped."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "data" / "recordings"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of the recordings; mark the test with ``recordings``."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"the real recordings are not beside the repository ({RECORDINGS.relative_to(ROOT.parent)})")
    return RECORDINGS
