"""Days and deadlines run on the broker's clock: a topic that bears its producers' time is refused, not worked with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kinestream.deploy.doctor.stack import FAIL, _topics
from kinestream.deploy.local.process import wait_until
from kinestream.deploy.topics import bound_topics, describe_topics
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings
from kinestream.streams.cluster import describe
from tests.plugins.broker import Broker


def test_a_worker_does_not_start_on_a_topic_that_bears_its_producers_time(kafka_broker: Broker):
    settings = replace(Settings.from_env(), tenant=kafka_broker.tenant)
    lanes = [topic_name(topic, kafka_broker.tenant) for topic in (FRAMES, FRAMES_BULK)]
    assert set(describe(settings, kafka_broker.bootstrap, lanes)[1].values()) == {8}
    bound_topics(kafka_broker.bootstrap, kafka_broker.tenant, {FRAMES_BULK: {"message.timestamp.type": "CreateTime"}})
    assert wait_until(
        lambda: describe_topics(kafka_broker.bootstrap, kafka_broker.tenant)[lanes[1]].time == "CreateTime", 10.0
    )
    with pytest.raises(SettingError, match=rf"^{lanes[1]} on .* set message.timestamp.type=LogAppendTime$"):
        describe(settings, kafka_broker.bootstrap, lanes)
    found = _topics(kafka_broker.bootstrap, settings)
    assert (found.level, found.detail) == (FAIL, f"with their producers' time: {lanes[1]}")
