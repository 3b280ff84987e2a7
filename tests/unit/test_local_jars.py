"""The broker's jars: exactly the committed ones, or one clear sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kinestream.deploy.local.jars import Jar, cache_folder, check, committed_jars, kafka_jars
from kinestream.schemas.errors import BrokerError, KafkaUnavailableError


def test_the_committed_list_names_every_jar_once_with_its_hash() -> None:
    jars = committed_jars()
    assert len({jar.name for jar in jars}) == len(jars) == 46
    assert {"kafka_2.13-4.3.1.jar", "slf4j-simple-1.7.36.jar"} <= {jar.name for jar in jars}
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)


def test_the_very_bytes_that_were_committed_pass(tmp_path: Path) -> None:
    (tmp_path / "x.jar").write_bytes(b"right")
    check(Jar("g:x:1", hashlib.sha256(b"right").hexdigest()), tmp_path / "x.jar")


def test_a_jar_that_was_replaced_in_the_cache_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "kafka-4.3.1"
    folder.mkdir()
    for jar in committed_jars():
        (folder / jar.name).write_bytes(b"something else")
    with pytest.raises(BrokerError, match=r"\.jar has sha256 [0-9a-f]{64}, expected .* delete it") as refused:
        kafka_jars(tmp_path)
    assert not isinstance(refused.value, KafkaUnavailableError), "a replaced jar must never mean: use the test broker"


def test_without_network_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # a port where nobody answers
    said: list[str] = []
    with pytest.raises(KafkaUnavailableError, match=r"could not be fetched .*KINESTREAM_KAFKA.*KINESTREAM_BROKER=test"):
        kafka_jars(tmp_path, said.append)
    assert said == [f"fetching Apache Kafka 4.3.1: 46 jars, once, into {tmp_path / 'kafka-4.3.1'}"]
    assert [path.name for path in (tmp_path / "kafka-4.3.1").iterdir()] == [".lock"]


def test_a_setting_names_another_cache(tmp_path: Path) -> None:
    assert cache_folder(str(tmp_path)) == tmp_path
    assert cache_folder().name == "kinestream"
