"""Owns the test broker: librdkafka's mock cluster in a process of its own. Memory only: nothing outlives the process.

``python -m kinestream.deploy.local.testbroker --address-file F`` writes its bootstrap address to F and serves until
SIGTERM. It keeps at most 5 MB a partition, makes any topic it is asked about with 4 partitions, knows no CreateTopics,
and stamps no records: their time is the producer's. A group has one aiokafka member at a time: when a second one joins,
its SyncGroup is refused as an invalid request.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

from confluent_kafka import cimpl

from kinestream.schemas.errors import BrokerError

_PRODUCER = 0  # rd_kafka_type_t


def start() -> str:
    """Start the mock cluster inside this process, for its whole life; returns ``host:port``.

    Through librdkafka's C interface (rdkafka_mock.h), because the setting test.mock.num.brokers leaves no way to the
    group's initial delay: every first member would wait 3 s. Raises :class:`BrokerError` when the library has none.
    """
    library = ctypes.CDLL(cimpl.__file__)  # a symbol is looked up in what the module was linked with, too
    pointer, error = ctypes.c_void_p, ctypes.create_string_buffer(512)
    try:
        library.rd_kafka_conf_new.restype = pointer
        library.rd_kafka_conf_set.argtypes = [
            pointer,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
        ]
        library.rd_kafka_new.restype = pointer
        library.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = pointer
        library.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
        library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [pointer, ctypes.c_int32]
    except AttributeError as problem:
        raise BrokerError(f"the installed confluent-kafka has no test broker ({problem}): pip install -U it") from None
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(settings, b"log_level", b"3", error, len(error))
    client = library.rd_kafka_new(_PRODUCER, settings, error, len(error))
    cluster = client and library.rd_kafka_mock_cluster_new(client, 1)
    if not cluster:
        raise BrokerError(f"librdkafka's test broker did not start: {error.value.decode()}")
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())


def serve(address_file: Path) -> None:
    """Run the test broker, its address in ``address_file``, until SIGTERM or SIGINT."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before librdkafka starts its threads, which inherit it
    partial = address_file.with_name(address_file.name + ".part")
    partial.write_text(start())
    os.replace(partial, address_file)  # whoever sees the file sees the whole address
    signal.sigwait(signals)


def main() -> None:
    """Command line of the test broker process."""
    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.local.testbroker", description=__doc__)
    parser.add_argument("--address-file", type=Path, required=True, help="where the bootstrap address is written")
    try:
        serve(parser.parse_args().address_file)
    except BrokerError as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
