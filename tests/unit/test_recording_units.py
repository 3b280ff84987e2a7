"""Units of joints: declared, proven by the model's limits or said by a person; whatever could be two is refused."""

import json
import re
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.producers.recordings import Choices, open_recording
from kinestream.producers.recordings.take import OWN, UNDECLARED, Signal
from kinestream.producers.recordings.units import Beside, settle
from kinestream.schemas.errors import UndecidedError
from kinestream.schemas.models import load_model, model_ids
from tests.plugins.recordings import write_episode

PANDA = "franka-panda"
ARM = [f"panda_joint{k}" for k in range(1, 8)]
#: A pose within a Panda's limits, rad: its fourth joint is never near 0.
POSE = np.array([0.1, -0.5, 0.3, -2.2, 0.4, 1.9, 0.8])
RATE = 50


def write(path, signals):
    """``signals``: suffix -> (n, J) of the arm's joints."""
    rows = len(next(iter(signals.values())))
    columns = [np.arange(rows)[:, None] / RATE, *signals.values()]
    names = ["t", *(f"{joint}.{suffix}" for suffix in signals for joint in ARM)]
    lines = [",".join(map(repr, row)) for row in np.hstack(columns).tolist()]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path


def write_takes(folder, poses):
    """A LeRobot data set of a robot nobody knows, an episode a pose."""
    info = folder / "meta" / "info.json"
    features = {name: {"names": ARM, "shape": [7]} for name in ("observation.state", "action")}
    info.write_text(json.dumps(json.loads(info.read_text()) | {"robot_type": "an arm", "features": features}))
    for number, pose in enumerate(poses):
        rows = np.arange(len(pose))
        table = {name: pose.astype(np.float32) for name in features}
        write_episode(folder, number, {**table, "timestamp": (rows / 30).astype(np.float32), "frame_index": rows})


def moving(amplitude=0.3, rows=100):
    return POSE + amplitude * np.sin(np.arange(rows) / 20)[:, None]


def read(path, **choices):
    return next(iter(open_recording(path, choices=Choices(**choices))))


def told(episode):
    return " ".join(episode.conversions)


def test_values_that_could_be_radians_or_degrees_are_refused_with_the_choices(tmp_path):
    path = tmp_path / "arm.csv"
    path.write_text("t,q0,q1\n0,0.1,0.2\n0.1,0.2,0.3\n")
    with pytest.raises(
        UndecidedError, match=r"\(0.1 to 0.3\) could be.*--unit rad, --unit deg, or --unit own"
    ) as refused:
        open_recording(path)
    assert refused.value.choices == ("rad", "deg", "own")
    assert "\n" not in str(refused.value)
    radians, degrees, own = (read(path, unit=unit) for unit in refused.value.choices)
    assert np.array_equal(radians.position, np.float32([[0.1, 0.2], [0.2, 0.3]]))
    assert np.array_equal(degrees.position, (np.array([[0.1, 0.2], [0.2, 0.3]]) * (np.pi / 180)).astype(np.float32))
    assert (own.position, own.channels[0].name, own.channels[0].unit) == (None, "joint_position", "")
    assert "as --unit says" in told(radians)
    assert "as --unit says" in told(degrees)


def test_radians_are_proven_where_in_degrees_a_joint_would_leave_its_limits(tmp_path):
    episode = read(write(tmp_path / "x.csv", {"pos": moving()}), model=PANDA)
    assert np.array_equal(episode.position, moving().astype(np.float32))
    assert "joint_position: radians, proven: in degrees panda_joint4 would leave its limits" in told(episode)


def test_degrees_are_proven_where_they_fit_and_neither_radians_nor_per_cent_do(tmp_path):
    episode = read(write(tmp_path / "x.csv", {"pos": np.degrees(moving())}), model=PANDA)
    assert np.abs(episode.position - moving()).max() < 1e-6
    assert "degrees to radians" in told(episode)
    assert "proven: in radians panda_joint1 would leave its limits" in told(episode)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (moving() / 4, "a share, -1..1"),
        (np.rint(np.degrees(moving())), "steps of an encoder are whole"),
        (moving() * 30, "per cent, -100..100"),
        (moving() * 100, "beyond every limit"),
    ],
)
def test_nothing_is_proven_where_a_robots_own_unit_would_fit_too(values, why, tmp_path):
    path = write(tmp_path / "x.csv", {"pos": values})
    try:
        episode = read(path, model=PANDA)
    except UndecidedError:
        return
    assert episode.position is None, why
    assert episode.further["joint_position"].shape == (100, 7)


def test_without_known_limits_nothing_is_proven(tmp_path):
    path = write(tmp_path / "x.csv", {"pos": moving()})
    with pytest.raises(UndecidedError):
        read(path, model="provisional:x")


def test_commands_and_velocities_follow_a_proven_position(tmp_path):
    position = moving()
    speed = np.gradient(position, 1 / RATE, axis=0)
    path = write(tmp_path / "x.csv", {"pos": position, "vel": np.degrees(speed), "cmd": position + 0.01})
    episode = read(path, model=PANDA)
    assert np.abs(episode.velocity - speed).max() < 1e-6
    assert np.array_equal(episode.command, (position + 0.01).astype(np.float32))
    assert "joint_velocity: degrees to radians" in told(episode)
    assert "the positions differ so" in told(episode)


def test_a_command_without_a_value_proves_nothing(tmp_path):
    path = write(tmp_path / "x.csv", {"pos": moving(), "cmd": np.full((100, 7), np.nan)})
    with pytest.raises(UndecidedError, match="nobody declares the unit of joint_command"):
        read(path, model=PANDA)


def test_velocities_of_no_known_unit_are_refused_beside_a_proven_position(tmp_path):
    noise = np.random.default_rng(1).normal(0, 5, (100, 7))
    path = write(tmp_path / "x.csv", {"pos": moving(), "vel": noise})
    with pytest.raises(UndecidedError, match="nobody declares the unit of joint_velocity"):
        read(path, model=PANDA)


@pytest.mark.parametrize(("unit", "scale"), [("rad", 1), ("deg", np.pi / 180)])
@pytest.mark.parametrize("header", ["q0_{0},q1_{0}", "q0 [{0}],q1 [{0}]", "q0.pos({0}),q1.pos({0})"])
def test_a_csv_declares_a_unit_in_its_header(unit, scale, header, tmp_path):
    (tmp_path / "x.csv").write_text(f"t,{header.format(unit)}\n0,1,2\n0.1,1.5,2.5\n")
    episode = read(tmp_path / "x.csv")
    assert episode.joints == ("q0", "q1")
    assert np.array_equal(episode.position, (np.array([[1, 2], [1.5, 2.5]]) * scale).astype(np.float32))


def test_a_header_that_declares_a_unit_for_some_joints_only_asks_for_the_others(tmp_path):
    (path := tmp_path / "x.csv").write_text("t,a.pos [rad],b.pos,c.pos [mm]\n0,1,2,500\n0.1,1,3,600\n")
    with pytest.raises(
        UndecidedError, match=r"declares mm, rad for some .* nothing for b; declare .* b \[rad\], or say"
    ):
        open_recording(path)
    for unit, scale in (("rad", 1), ("deg", np.pi / 180)):
        said = read(path, unit=unit)
        assert said.joints == ("a", "b", "c")
        assert np.array_equal(said.position, np.array([[1, 2 * scale, 0.5], [1, 3 * scale, 0.6]]).astype(np.float32))
        assert any(told.startswith("joint_position (b): ") for told in said.conversions)
    own = read(path, unit="own")
    assert (own.joints, own.further["joint_position_own"].tolist()) == (("a", "c"), [[2], [3]])


def test_what_declares_no_unit_is_proven_by_the_limits_or_mapped_beside_what_declares_one(tmp_path):
    model, moves = load_model(PANDA), moving()
    names = [f"{name}.pos{' [deg]' if k == 0 else ''}" for k, name in enumerate(model.joint_names[:7])]
    turned = moves * np.array([180 / np.pi, *[1] * 6])
    rows = [",".join(map(repr, [0.02 * k, *row])) for k, row in enumerate(turned.tolist())]
    (path := tmp_path / "x.csv").write_text("\n".join([f"t,{','.join(names)}", *rows]))
    assert np.allclose(read(path, model=PANDA).position[:, :7], moves, atol=1e-6)
    path.write_text("t,a.pos [deg],b.pos\n0,90,2\n0.1,45,3\n")
    (lines := tmp_path / "c.yaml").write_text("id: x\njoints:\n  b: {raw: [2, 3], rad: [0, 1]}\n")
    mapped = read(path, calibration=str(lines))
    assert np.allclose(mapped.position, [[np.pi / 2, 0], [np.pi / 4, 1]])


def test_effort_of_some_joints_in_newton_metres_leaves_the_others_a_channel(tmp_path):
    (path := tmp_path / "x.csv").write_text(
        "t,a.pos [rad],b.pos [rad],a.torque [Nm],b.torque\n0,1,2,3,4\n0.1,1,3,3,5\n"
    )
    episode = read(path)
    assert episode.further["joint_effort_own"].tolist() == [[4], [5]]
    assert {c.name: (c.unit, c.element_names) for c in episode.channels}["joint_effort"] == ("Nm", ("a",))


def test_effort_is_newton_metres_only_where_the_header_says_so(tmp_path):
    (tmp_path / "x.csv").write_text("t,a.pos [rad],a.torque [Nm]\n0,1,2\n0.1,1,3\n")
    assert read(tmp_path / "x.csv").effort.tolist() == [[2], [3]]
    (tmp_path / "x.csv").write_text("t,a.pos [rad],a.torque\n0,1,2\n0.1,1,3\n")
    episode = read(tmp_path / "x.csv")
    assert (episode.effort, episode.further["joint_effort"].tolist()) == (None, [[2], [3]])
    assert "nobody declares the unit of joint_effort: kept as a channel, not as Nm" in " ".join(episode.oddities)


def test_degrees_said_by_a_person_are_not_said_of_hands_and_sliding_joints(tmp_path):
    names = ["panda_joint1.pos", "panda_finger_joint1.pos", "hand_opening.pos"]
    (tmp_path / "x.csv").write_text(f"t,{','.join(names)}\n0,10,0.02,0.5\n0.1,20,0.03,0.6\n")
    episode = read(tmp_path / "x.csv", model=PANDA, unit="deg")
    assert episode.joints == ("panda_joint1", "panda_finger_joint1")
    assert np.allclose(episode.position, [[np.radians(10), 0.02], [np.radians(20), 0.03]])
    assert np.allclose(episode.further["hand_position"].ravel(), [0.5, 0.6])


def test_one_recording_has_one_unit_also_where_an_episode_alone_would_prove_none(data_set):
    degrees = np.degrees(moving())
    write_takes(data_set, [degrees, np.full_like(degrees, 0.2), degrees])
    whole = list(open_recording(data_set, PANDA))
    assert np.abs(whole[0].position - moving()).max() < 1e-6
    assert np.allclose(whole[1].position, np.radians(0.2))
    assert "degrees to radians" in told(whole[1])


def run(*arguments):
    done = CliRunner().invoke(application(), ["inspect", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_inspect_shows_the_commands_to_choose_from_and_each_of_them_works(tmp_path):
    path = tmp_path / "arm.csv"
    path.write_text("t,q0,q1\n0,0.1,0.2\n0.1,0.2,0.3\n")
    code, out, err = run(path)
    assert (code, err.count("\n")) == (2, 1)
    lines = re.findall(r"^choose +(.*)$", out, re.M)
    assert [shlex.split(line)[-1] for line in lines] == ["rad", "deg", "own"]
    for line in lines:
        code, out, err = run(*shlex.split(line)[2:])
        assert (code, err) == (0, "")
        assert f"publish    {line}" in out.splitlines()


def test_a_converter_may_declare_the_unit_of_a_lerobot_feature(data_set):
    write_takes(data_set, [np.degrees(moving()) / 50] * 3)
    info = data_set / "meta" / "info.json"
    content = json.loads(info.read_text())
    for feature in content["features"].values():
        feature["unit"] = "deg"
    info.write_text(json.dumps(content))
    first = next(iter(open_recording(data_set, PANDA)))
    assert np.abs(first.position - moving() / 50).max() < 1e-6


def test_what_has_to_be_decided_after_another_choice_is_decided_in_the_same_line(tmp_path):
    names = [f"{n}.pos" for n in load_model("therobotstudio-so-100").joint_names]
    (tmp_path / "x.csv").write_text(f"t,{','.join(names)}\n0,{',0.5' * 6}\n".replace("0,,", "0,"))
    lines = json.loads(run(tmp_path / "x.csv", "--json")[1])["choose"]
    assert any(line.endswith("--model therobotstudio-so-101 --unit deg") for line in lines)
    assert all("--model" in line and "--unit" in line for line in lines)


@pytest.mark.parametrize("model_id", model_ids())
def test_no_movement_of_any_model_is_proven_to_be_in_a_unit_it_is_not_in(model_id):
    model, rng = load_model(model_id), np.random.default_rng(0)
    lower, upper = np.nan_to_num(model.lower, nan=-1), np.nan_to_num(model.upper, nan=1)
    for _ in range(5):
        centre = rng.uniform(lower, upper)
        swing = 0.2 * (upper - lower) * rng.uniform(-1, 1, len(lower))
        position = np.clip(centre + swing * np.sin(np.arange(100) / 10)[:, None], lower, upper)
        share = (position - lower) / (upper - lower)
        units = {"rad": position, "deg": np.degrees(position), "0..1": share, "-1..1": 2 * share - 1}
        units |= {"per cent": 200 * share - 100, "steps": np.rint(4095 * share)}
        for unit, values in units.items():
            signal = Signal("position", "q", UNDECLARED, model.joint_names, values)
            try:
                assert settle("x", signal, Beside(model)).unit[0] in (unit, OWN)
            except UndecidedError:
                continue
