"""What a worker must know of the cluster before it starts: its id, that the topics are there, that it is let in."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from kinestream.schemas.catalogue import BROKER_TIME, TEST_CLUSTER
from kinestream.schemas.errors import BrokerError, SettingError
from kinestream.schemas.settings import Settings
from kinestream.streams.outlook import Kept

#: What no waiting cures: a name, a password or a certificate that the cluster does not take, or we not its.
_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})
#: Seconds after which we look whether we were refused: librdkafka itself would try on for the whole time.
_LOOK_S: Final = 1.0


class Door:
    """Whether a cluster lets a client in: give :meth:`heard` to that client as its ``error_cb``."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._refusals: list[str] = []

    def heard(self, error: KafkaError) -> bool:
        """Take an error of the client; whether it is a refusal."""
        refused = error.code() in _REFUSED
        if refused:
            self._refusals.append(error.str())
        return refused

    def metadata(self, client: Any, timeout_s: float, topic: str | None = None) -> Any:
        """Of ``topic``, or of all; raises ``KafkaException`` when nobody answers.

        Raises :class:`SettingError` where somebody does, and does not let us in.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(deadline - time.monotonic(), 0.0)
            try:
                return client.list_topics(topic, timeout=min(left_s, _LOOK_S))
            except KafkaException:
                client.poll(0)
                if self._refusals:
                    raise SettingError(
                        f"{self._bootstrap} does not let us in ({self._refusals[0]}): set KINESTREAM_KAFKA_SECURITY, "
                        "_KAFKA_MECHANISM, _KAFKA_USER, _KAFKA_PASSWORD and _KAFKA_CA as its listener wants them"
                    ) from None
                if left_s <= _LOOK_S:
                    raise


class Admin(AdminClient):
    """A client that asks about topics; ``client`` as :meth:`Settings.kafka_client` gives it, and more."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._door = Door(client["bootstrap.servers"])
        # A broker that is not there is our error's text, not librdkafka's ten lines a second.
        super().__init__({"log_level": 0, **client, "error_cb": self._door.heard})

    def metadata(self, timeout_s: float, topic: str | None = None) -> Any:
        """As :meth:`Door.metadata`."""
        return self._door.metadata(self, timeout_s, topic)


def kept(settings: Settings, bootstrap: str, topics: Iterable[str], timeout_s: float = 10.0) -> dict[str, Kept]:
    """What a partition of each topic keeps at least. Raises :class:`BrokerError` where nobody tells."""
    admin = Admin(settings.kafka_client(bootstrap))
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    found: dict[str, Kept] = {}
    try:
        for resource, answer in admin.describe_configs(asked, request_timeout=timeout_s).items():
            config = answer.result()  # librdkafka itself ends it in time
            if "delete" in config["cleanup.policy"].value:
                ms, size = (float(config[name].value) for name in ("retention.ms", "retention.bytes"))
                found[resource.name] = Kept(ms / 1000 if ms >= 0 else math.inf, size if size >= 0 else math.inf)
    except KafkaException as problem:
        raise BrokerError(f"{bootstrap} does not tell what its topics keep: {problem.args[0].str()}") from problem
    return found


def describe(
    settings: Settings, bootstrap: str, topics: Iterable[str], timeout_s: float = 10.0
) -> tuple[str, dict[str, int]]:
    """Cluster id, and partitions by topic.

    Raises :class:`BrokerError` if it is away, :class:`SettingError` if it does not let us in, a topic is not there (a
    missing source topic would only log ten errors a second and look alive), or one bears its producers' time.
    """
    admin = Admin(settings.kafka_client(bootstrap))
    try:
        found = {topic: admin.metadata(timeout_s, topic) for topic in topics}
    except KafkaException as problem:
        raise BrokerError(f"no broker answers at {bootstrap}: {problem.args[0].str()}") from problem
    counts = {topic: len(metadata.topics[topic].partitions) for topic, metadata in found.items()}
    if missing := [topic for topic, count in counts.items() if count == 0]:
        raise SettingError(
            f"topics {', '.join(missing)} are not on {bootstrap}: `kinestream up` makes them;"
            " or is KINESTREAM_TENANT another?"
        )
    cluster_id = next(iter(found.values())).cluster_id
    if not cluster_id.startswith(TEST_CLUSTER) and (wrong := _on_other_time(admin, counts, timeout_s)):
        raise SettingError(
            f"{', '.join(wrong)} on {bootstrap} bear their producers' time, on which one robot's clock would close"
            f" the takes of others: set message.timestamp.type={BROKER_TIME}"
        )
    return cluster_id, counts


def _on_other_time(admin: Admin, topics: Iterable[str], timeout_s: float) -> list[str]:
    """Those whose records do not bear the broker's time; none where we may not ask."""
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    found: dict[str, str] = {}
    with suppress(KafkaException):
        for resource, answer in admin.describe_configs(asked, request_timeout=timeout_s).items():
            found[resource.name] = answer.result()["message.timestamp.type"].value
    return [topic for topic, clock in found.items() if clock != BROKER_TIME]
