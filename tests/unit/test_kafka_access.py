"""How every client is let in: one set of settings, made in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinestream.deploy.local.stack import Stack
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings
from kinestream.streams.reading import consumer_config
from kinestream.streams.transport.joining import Joining

ROOT = Path(__file__).resolve().parents[2]
NAMED = {
    "KINESTREAM_KAFKA_SECURITY": "SASL_SSL",
    "KINESTREAM_KAFKA_MECHANISM": "SCRAM-SHA-512",
    "KINESTREAM_KAFKA_USER": "hub",
    "KINESTREAM_KAFKA_PASSWORD": "secret",
    "KINESTREAM_KAFKA_CA": "/ca.pem",
    "KINESTREAM_KAFKA_CERTIFICATE": "/me.pem",
    "KINESTREAM_KAFKA_KEY": "/me.key",
}
ACCESS = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "hub",
    "sasl.password": "secret",
    "ssl.ca.location": "/ca.pem",
    "ssl.certificate.location": "/me.pem",
    "ssl.key.location": "/me.key",
}


def test_all_that_a_cluster_asks_for_is_said_in_librdkafkas_words() -> None:
    settings = Settings.from_env(NAMED)
    assert settings.kafka_client("b:1") == {"bootstrap.servers": "b:1", **ACCESS}
    assert Settings().kafka_client("b:1") == {"bootstrap.servers": "b:1", "security.protocol": "PLAINTEXT"}


def test_the_groups_member_and_a_subscriber_say_it_too() -> None:
    settings = Settings.from_env(NAMED)
    joining = Joining("b:1", "g", access=settings.kafka_access())
    for config in (joining.member(), joining.client(), consumer_config(settings, "b:1", "g")):
        assert config.items() >= ACCESS.items()


@pytest.mark.parametrize(("name", "value"), [("SECURITY", "sasl"), ("MECHANISM", "GSSAPI")])
def test_what_is_not_offered_is_refused_with_what_is(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"KINESTREAM_KAFKA_{name}='{value}': allowed are "):
        Settings.from_env({f"KINESTREAM_KAFKA_{name}": value})


def test_the_local_broker_asks_nobody_and_says_so(tmp_path: Path) -> None:
    stack = Stack(Settings(home=tmp_path, kafka_security="SASL_PLAINTEXT"))
    with pytest.raises(SettingError, match="the local stack's broker is PLAINTEXT"):
        stack.up(lambda text: None)


def test_no_client_is_made_past_it() -> None:
    """A client that spells its address itself would be the one that a secured cluster does not let in."""
    spelt = {
        path.relative_to(ROOT).as_posix()
        for folder in ("streams", "producers")
        for path in (ROOT / folder).rglob("*.py")
        if '"bootstrap.servers": ' in path.read_text()
    }
    assert spelt == {"streams/transport/joining.py"}
