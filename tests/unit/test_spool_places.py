"""Every robot has a folder of its own below its tenant's, whatever it is called."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from kinestream.producers.spool.places import spool_folder
from kinestream.schemas.settings import Settings


@pytest.mark.parametrize("robot_id", ["r1", ".", "..", "../../etc", "a/b", "...", "机器人", "%2E"])
def test_a_robot_s_spool_is_right_below_its_tenant(robot_id: str, tmp_path: Path) -> None:
    folder = spool_folder(Settings(spool=str(tmp_path)), robot_id)
    assert folder.resolve().parent == (tmp_path / "hub").resolve()
    assert unquote(folder.name) == robot_id


def test_no_two_robots_share_a_spool(tmp_path: Path) -> None:
    names = [".", "..", "%2E", "%2E%2E", "%252E"]
    assert len({spool_folder(Settings(spool=str(tmp_path)), name) for name in names}) == len(names)
