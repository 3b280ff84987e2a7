"""What a figure was taken on: without it no figure can be compared."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

_PARTS = ("faust-streaming", "fastavro", "numpy", "confluent-kafka", "clickhouse-connect", "chdb")


def machine() -> dict[str, Any]:
    """Cores, system and the versions that matter."""
    return {
        "cores": os.cpu_count(),
        "load": [round(one, 2) for one in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PARTS},
    }
