"""A test broker within the test's own process, whose failures are made at will: down and up, and refused requests.

It is librdkafka's mock cluster by its C interface; what was written survives :meth:`MockBroker.down`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, cimpl

from kinestream.deploy.topics import ensure_topics

_PRODUCE = 0


class MockBroker:
    """One broker, topics of 4 partitions."""

    def __init__(self) -> None:
        pointer = ctypes.c_void_p
        library = self._library = ctypes.CDLL(cimpl.__file__)
        library.rd_kafka_conf_new.restype = pointer
        library.rd_kafka_new.restype = pointer
        library.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = pointer
        library.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
        library.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
        library.rd_kafka_destroy.argtypes = [pointer]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
        for name in ("rd_kafka_mock_broker_set_down", "rd_kafka_mock_broker_set_up"):
            getattr(library, name).argtypes = [pointer, ctypes.c_int32]
        library.rd_kafka_mock_broker_set_rtt.argtypes = [pointer, ctypes.c_int32, ctypes.c_int]
        library.rd_kafka_mock_push_request_errors_array.argtypes = [
            *(pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int))
        ]
        library.rd_kafka_mock_topic_set_error.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int]
        library.rd_kafka_conf_set.argtypes = [
            *(pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
        ]
        error, settings = ctypes.create_string_buffer(512), library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(settings, b"log_level", b"3", error, len(error))
        self._client = library.rd_kafka_new(0, settings, error, len(error))
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, 1)
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def down(self) -> None:
        """Close every connection and take no more."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def answer_after(self, ms: int) -> None:
        """Each answer from now on comes so late."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, 1, ms)

    def refuse_produce(self, *codes: int) -> None:
        """The next produce requests fail, each with one of ``codes``."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, _PRODUCE, len(codes), array)

    def refuse_topic(self, topic: str, code: int = KafkaError.NO_ERROR) -> None:
        """Whoever asks about ``topic`` gets an error; NO_ERROR ends that."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), code)

    def stop(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


@pytest.fixture
def mock_broker() -> Iterator[MockBroker]:
    """Of this test alone, with the topics of tenant ``hub``."""
    broker = MockBroker()
    ensure_topics(broker.bootstrap, "hub")
    yield broker
    broker.stop()
