"""Owns the test broker: librdkafka's mock cluster in a process of its own. Memory only: nothing outlives the process.

``python -m kinestream.deploy.local.testbroker --address-file F`` writes its bootstrap address to F and serves until
SIGTERM. It keeps at most 5 MB a partition, makes any topic it is asked about with 4 partitions, knows no CreateTopics,
and stamps no records: their time is the producer's.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from confluent_kafka import Producer


def serve(address_file: Path) -> None:
    """Start the mock cluster, write ``host:port`` into ``address_file``, return on SIGTERM or SIGINT."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before librdkafka starts its threads, which inherit it
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    partial = address_file.with_name(address_file.name + ".part")
    partial.write_text(",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    os.replace(partial, address_file)  # whoever sees the file sees the whole address
    signal.sigwait(signals)


def main() -> None:
    """Command line of the test broker process."""
    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.local.testbroker", description=__doc__)
    parser.add_argument("--address-file", type=Path, required=True, help="where the bootstrap address is written")
    serve(parser.parse_args().address_file)


if __name__ == "__main__":
    main()
