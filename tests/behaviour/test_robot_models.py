"""A robot's description from the command line over its topic to the verdict; who sends an unknown one is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.schemas.catalogue import ROBOTS
from kinestream.schemas.model_files import checked, content_of, text_of
from kinestream.schemas.models import RobotModel, load_model
from tests.assembling import JOINTS, Take
from tests.plugins.worker import Pipeline
from tests.sending import RawSender

ROW = "SELECT metric_flags[indexOf(metric_ids, 'I3')], rule_version FROM episodes FINAL WHERE episode_id = {id:String}"


def kinestream(pipeline: Pipeline, *arguments: str) -> Any:
    done = CliRunner().invoke(application(), arguments, env=pipeline.environment("cli"))
    return done


def described(upper: float) -> RobotModel:
    """A G1 under another name; its elbow reaches only so far."""
    content = content_of(load_model("unitree-g1-29-dof")) | {"model_id": "lab-arm"}
    for joint in content["joints"]:
        joint["upper"] = upper if joint["name"] == JOINTS[1] else joint["upper"]
    return checked(content, "the lab's")


def judged(pipeline: Pipeline, take: Take) -> tuple[str, str]:
    """What I3 found of the positions, and the description behind it."""
    flag, rules = pipeline.wait_for(lambda: pipeline.query(ROW, id=take.id))[0]
    return str(flag), str(rules).partition("/")[2]


def published_as_registered(pipeline: Pipeline, recorded: Path) -> None:
    """A recording is published by what is registered, too."""
    recorded.write_text(
        f"t,{','.join(f'{joint}.pos [rad]' for joint in JOINTS[::-1])}\n0,{','.join('0' * len(JOINTS))}\n"
    )
    done = kinestream(pipeline, "inspect", str(recorded), "--model", "lab-arm", "--json")
    robot = json.loads(done.stdout)["robot"]
    assert (done.exit_code, robot["model_id"], robot["why"]) == (0, "lab-arm", "registered, and named with --model")
    done = kinestream(pipeline, "publish", str(recorded), "--model", "lab-arm", "--json")
    assert done.exit_code == 0, done.output
    replayed = json.loads(done.stdout)["episodes"][0]["episode_id"]
    names = "SELECT joints FROM episodes FINAL WHERE episode_id = {id:String}"
    assert pipeline.wait_for(lambda: pipeline.query(names, id=replayed))[0][0] == list(JOINTS)


def test_a_registered_robot_is_judged_by_its_limits_and_an_unknown_one_is_provisional(
    test_pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline = test_pipeline
    pipeline.start()
    sender, files = RawSender(pipeline.broker), {}
    for upper in (2.0, 0.1):
        files[upper] = tmp_path / f"{upper}.json"
        files[upper].write_text(text_of(described(upper)))

    sender.send(*(unknown := Take(model="lab-arm")).whole())
    assert judged(pipeline, unknown) == ("NOT_EVALUATED", "")
    listed = {one["model_id"]: one for one in json.loads(kinestream(pipeline, "robots", "list", "--json").stdout)}
    lab = listed["lab-arm"]
    assert (lab["state"], lab["episodes"], lab["robots"], lab["joint_names"]) == ("provisional", 1, 1, list(JOINTS))
    assert "I3" in lab["not_evaluated"]
    assert "lab-arm: provisional, nobody has described it" in kinestream(pipeline, "robots", "show", "lab-arm").stdout

    for number, (upper, file) in enumerate(files.items(), 2):
        done = kinestream(pipeline, "robots", "register", str(file), "--by", "p7", "--json")
        assert done.exit_code == 0, done.output
        version = json.loads(done.stdout)["version"]
        assert version == described(upper).version
        takes = [Take(model="lab-arm", no=number * 100 + k) for k in range(1, 60)]

        def registered(takes: list[Take] = takes, version: str = version) -> str:
            """Within a second or so: a take that began before keeps what was in force."""
            sender.send(*(take := takes.pop()).whole())
            flag, by = judged(pipeline, take)
            return flag if by == version else ""

        assert pipeline.wait_for(registered) == ("GOOD" if upper == 2.0 else "FAIL")
    assert judged(pipeline, unknown) == ("NOT_EVALUATED", "")

    again = kinestream(pipeline, "robots", "list", "--json")
    assert {one["model_id"]: one["state"] for one in json.loads(again.stdout)}["lab-arm"] == "registered"
    shown = json.loads(kinestream(pipeline, "robots", "show", "lab-arm", "--json").stdout)
    assert (shown["version"], shown["joints"][0]["name"]) == (described(0.1).version, "left_hip_pitch_joint")

    published_as_registered(pipeline, tmp_path / "arm.csv")

    pipeline.kill()  # a worker that starts knows all of it before its first take
    RawSender(pipeline.broker, ROBOTS).send(Take().start())  # ... and passes what is no registration
    sender.send(*(last := Take(model="lab-arm", no=9999)).whole())
    pipeline.start()
    assert judged(pipeline, last) == ("FAIL", described(0.1).version)
    assert "registration refused: a EpisodeStart among registrations" in pipeline.log()
