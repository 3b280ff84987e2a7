"""Owns Apache Kafka on one machine: its properties, its one-time format, its start. It never outlives its parent.

``python -m kinestream.deploy.local.kafka --home DIR --port N`` becomes the broker: its pid is the broker's.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from kinestream.deploy.local.jars import VERSION, cache_folder, kafka_jars
from kinestream.deploy.local.java import find_java
from kinestream.deploy.local.process import free_port, port_is_free
from kinestream.schemas.errors import BrokerError, KinestreamError

_JVM: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)
#: For a broker of minutes: compiled once and lightly, not twice and well. Starting and a demo cost it two thirds of the
#: CPU, and 32,000 small requests less in all; but the last of those already cost the other half to four fifths each.
_BRIEF: Final = ("-XX:TieredStopAtLevel=1",)


def properties(port: int, controller_port: int, inside_port: int = 0, *, open_: bool = True) -> dict[str, str]:
    """Settings of a single node on 127.0.0.1 that is broker and controller; ``log.dirs`` is relative to its home.

    With an ``inside_port`` workers have a listener of their own, and the other one is there only while ``open_``.
    """
    ports = {"PLAINTEXT": port if open_ else 0, "INSIDE": inside_port, "CONTROLLER": controller_port}
    listeners = ",".join(f"{name}://127.0.0.1:{number}" for name, number in ports.items() if number)
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INSIDE" if inside_port else "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        # Relative: the setting is a comma-separated list in Latin-1, and a home may hold any character.
        "log.dirs": "data",
        # A single node can keep one copy only; Kafka's defaults ask for three and nothing would ever commit.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # 50 partitions each by default: 150 folders to open at every start.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A misspelt topic must fail, not appear with another partition count.
        "auto.create.topics.enable": "false",
        # 5 minutes by default: a bound in bytes would be passed by what comes in meanwhile.
        "log.retention.check.interval.ms": "15000",
        # 128 MB by default, taken at start.
        "log.cleaner.dedupe.buffer.size": "16777216",
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


def prepare(
    home: Path,
    port: int,
    cache: Path,
    progress: Callable[[str], None],
    inside_port: int = 0,
    *,
    open_: bool = True,
    brief: bool = False,
) -> list[str]:
    """Everything before the start: jars, Java, free port, properties, format once. Returns the command of the broker.

    Raises :class:`BrokerError` (KafkaUnavailableError when jars or Java cannot be had).
    """
    java = find_java()
    classpath = os.pathsep.join(map(str, kafka_jars(cache, progress)))
    if not port_is_free(port):
        raise BrokerError(f"port {port} of 127.0.0.1 is in use: stop what listens there or give another with --port")
    home.mkdir(parents=True, exist_ok=True)
    wanted = properties(port, free_port(), inside_port, open_=open_)
    lines = (f"{key}={value}\n" for key, value in wanted.items())
    (home / "kafka.properties").write_text("".join(lines))
    base = [java, *_JVM, *(_BRIEF if brief else ()), "-cp", classpath]
    if not (home / "data" / "meta.properties").exists():
        progress(f"formatting the data folder of Apache Kafka {VERSION}")
        _format(base, home)
    return [*base, "kafka.Kafka", "kafka.properties"]


def _format(base: list[str], home: Path) -> None:
    # meta.properties is the last file a format writes: without it nothing was ever stored here.
    shutil.rmtree(home / "data", ignore_errors=True)
    # A leading "a" because an id that begins with "-" is read as an option.
    cluster = "a" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
    tool = [*base, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", "kafka.properties"]
    done = subprocess.run(tool, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BrokerError(f"Apache Kafka could not format {home / 'data'}: {' '.join(last)}")


def run(home: Path, port: int, cache: Path, inside_port: int = 0, *, brief: bool = False) -> None:
    """Replace this process by the broker; raises :class:`BrokerError` when it cannot start.

    While the file ``closed`` lies in ``home``, only the inside port answers (deploy/local/guard.py).
    """
    open_ = not (inside_port and (home / "closed").exists())
    say = partial(print, file=sys.stderr, flush=True)
    command = prepare(home, port, cache, say, inside_port, open_=open_, brief=brief)
    os.chdir(home)
    os.execv(command[0], command)


def main() -> None:
    """Command line of the broker process."""
    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.local.kafka", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of properties and data")
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1 that clients use")
    parser.add_argument("--inside-port", type=int, default=0, help="a second port, for workers; 0 = none")
    parser.add_argument("--brief", action="store_true", help="for a broker that is there for minutes only")
    parser.add_argument("--cache", default="", help="folder of the jars; default: the platform's cache folder")
    given = parser.parse_args()
    try:
        run(given.home, given.port, cache_folder(given.cache), given.inside_port, brief=given.brief)
    except KinestreamError as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
