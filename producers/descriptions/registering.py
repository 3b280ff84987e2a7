"""Puts reviewed descriptions onto the topic ``robots``; checks nothing that ``model_files`` has not."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from kinestream.schemas.catalogue import ROBOTS, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.models import RobotModel
from kinestream.schemas.registrations import registration_key, registration_of
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

_ANSWER_S: Final = 10.0


def register(model: RobotModel, settings: Settings, bootstrap: str, by: str = "") -> str:
    """Register ``model``; its version. It is on the broker's disk when this returns.

    From now on takes that begin are judged by it. Raises :class:`BrokerError` when the broker does not take it.
    """
    topic = topic_name(ROBOTS, settings.tenant)
    value = Codec(Registry(settings.registry), topic).encode(
        "RobotRegistered", registration_of(model, settings.tenant, by)
    )
    problems: list[KafkaError] = []

    def delivered(problem: KafkaError | None, _: Any) -> None:
        if problem is not None:
            problems.append(problem)

    producer = Producer(
        {
            **settings.kafka_client(bootstrap),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "message.timeout.ms": int(_ANSWER_S * 1000),
            "log_level": 2,
        }
    )
    try:
        producer.produce(topic, value, registration_key(model).encode(), on_delivery=delivered)
    except KafkaException as problem:
        problems.append(problem.args[0])
    if producer.flush(_ANSWER_S + 5) or problems:
        said = problems[0].str() if problems else "no answer"
        raise BrokerError(f"{bootstrap} did not take the description into {topic} ({said}): try again")
    return model.version
