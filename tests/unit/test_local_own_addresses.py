"""``eval "$(kinestream env)"`` names the stack's own services: in that shell ``up`` must still start them."""

from __future__ import annotations

from pathlib import Path

from kinestream.deploy.local.ports import Remembered
from kinestream.deploy.local.stack import Stack
from kinestream.schemas.settings import Settings


def stack(home: Path, **given: str) -> Settings:
    home.mkdir(exist_ok=True)
    Remembered("kafka", {"broker": 19092, "registry": 18081, "store": 18123}, 1).save(home)
    return Stack(Settings(home=home, **given)).settings  # type: ignore[arg-type]


def test_the_stacks_own_addresses_name_no_other_service(tmp_path: Path) -> None:
    own = stack(
        tmp_path,
        kafka="127.0.0.1:19092",
        registry="http://127.0.0.1:18081",
        clickhouse="http://127.0.0.1:18123/",
    )
    assert (own.kafka, own.registry, own.clickhouse) == ("", "", "")


def test_another_cluster_stays_another(tmp_path: Path) -> None:
    other = stack(tmp_path, kafka="kafka.example:9092", clickhouse="http://127.0.0.1:8123")
    assert (other.kafka, other.clickhouse) == ("kafka.example:9092", "http://127.0.0.1:8123")
