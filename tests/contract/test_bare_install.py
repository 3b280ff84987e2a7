"""What a robot maker installs: the wheel and its four declared dependencies, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from kinestream.schemas.catalogue import FRAMES, topic_name
from tests.plugins.broker import Broker
from tests.robots import read_topic

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Bare:
    """A clean environment with nothing but the wheel and what it declares."""

    wheel: Path
    python: Path
    folder: Path

    def run(self, program: str) -> str:
        """In a folder of its own, isolated from this checkout and this environment's packages."""
        return run([str(self.python), "-I", "-c", program], self.folder)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    folder = tmp_path_factory.mktemp("bare")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    (wheel,) = folder.glob("kinestream-*.whl")
    environment = folder / "env"
    run([str(UV), "venv", "--quiet", "--python", sys.executable, str(environment)], folder)
    python = environment / "bin" / "python"
    install = [str(UV), "pip", "install", "--quiet", "--python", str(python), "-c", str(ROOT / "requirements.lock")]
    install.append(str(wheel))
    # What `make setup` fetched is in uv's cache, so no network is needed; only an emptied cache asks for it again.
    offline = subprocess.run([*install, "--offline"], cwd=folder, capture_output=True, timeout=110, check=False)
    if offline.returncode:
        run(install, folder)
    return Bare(wheel, python, folder)


def test_it_holds_the_four_declared_dependencies_and_no_more(bare: Bare):
    listed = run([str(UV), "pip", "list", "--format", "json", "--python", str(bare.python)], bare.folder)
    names = {one["name"] for one in json.loads(listed)}
    assert names == {"confluent-kafka", "fastavro", "kinestream", "numpy", "xxhash"}


def test_the_wheel_puts_one_name_into_site_packages(bare: Bare):
    top = {name.partition("/")[0] for name in zipfile.ZipFile(bare.wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"kinestream"}
    assert (
        bare.run(
            "import importlib.util as u; print([n for n in ('schemas', 'streams', 'producers', 'deploy', 'tests')"
            " if u.find_spec(n)])"
        )
        == "[]\n"
    )


def test_the_wheel_holds_every_python_and_data_file_of_the_four_folders(bare: Bare):
    packed = set(zipfile.ZipFile(bare.wheel).namelist())
    tracked = run(["git", "ls-files", "producers", "schemas", "streams", "deploy"], ROOT).split()
    assert {f"kinestream/{name}" for name in tracked if (ROOT / name).exists()} <= packed
    for kind in (
        "schemas/avro/FrameChunk.v1.avsc",
        "schemas/robots/",
        "schemas/clickhouse/001_",
        "schemas/skills.yaml",
    ):
        assert any(name.startswith(f"kinestream/{kind}") for name in packed), kind
    assert "kinestream/py.typed" in packed
    assert not [name for name in packed if "__pycache__" in name or name.endswith(".pyc")]


def test_a_robot_knows_its_models_and_publishes_a_take(bare: Bare, test_broker: Broker):
    program = f"""
import kinestream
settings = kinestream.Settings(tenant={test_broker.tenant!r})
with kinestream.Robot("r1", model_id="unitree-g1-29-dof", kafka={test_broker.bootstrap!r}, spool="spool",
                      settings=settings) as robot:
    robot.on_finding(print)
    with robot.episode(skill="grasp", area="household") as episode:
        for i in range(25):
            episode.send([i] * 29, t=i)
    robot.flush()
    print(episode.accepted, episode.content_hash, kinestream.__file__)
"""
    accepted, content_hash, file = bare.run(program).split()
    assert (accepted, Path(file).is_relative_to(bare.folder)) == ("25", True)
    came, _ = read_topic(
        test_broker.bootstrap,
        topic_name(FRAMES, test_broker.tenant),
        lambda c: any(o.record == "EpisodeEnd" for o in c),
    )
    (end,) = [one.value for one in came if one.record == "EpisodeEnd"]
    assert (end["n_total"], end["content_hash"]) == (25, content_hash)
