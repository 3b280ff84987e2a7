"""What a CSV's header says: base poses by name alone, a unit a column, and files no person could read either."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.producers.recordings import Choices, open_recording
from kinestream.schemas.errors import RecordingError
from kinestream.schemas.models import load_model, model_ids

#: x y z of a position and x y z w of a quaternion that turns about z, by frame
PLACE = [[0.1 * k, 0.2, 0.8] for k in range(4)]
TURN = [[0.0, 0.0, float(np.sin(k / 9)), float(np.cos(k / 9))] for k in range(4)]


def written(path, header, *columns):
    rows = [",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def posed(path, names, order=(0, 1, 2, 3), scale=1.0):
    place, turn = np.array(PLACE).T * scale, np.array(TURN).T
    t = [0.02 * k for k in range(4)]
    return written(path / "a.csv", f"t_s,{names},q0_rad", t, *place, *(turn[c] for c in order), t)


def read(path, **choices):
    (episode,) = open_recording(path, choices=Choices(**choices))
    return episode


def looked(path, *options):
    done = CliRunner().invoke(application(), ["inspect", str(path), "--json", *options])
    return done.exit_code, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ("base_x,base_y,base_z,qw,qx,qy,qz", (3, 0, 1, 2)),
        ("base_x,base_y,base_z,base_qx,base_qy,base_qz,base_qw", (0, 1, 2, 3)),
        ("root_pos_x,root_pos_y,root_pos_z,root_quat_w,root_quat_x,root_quat_y,root_quat_z", (3, 0, 1, 2)),
        ("Base.position.x,Base.position.y,Base.position.z,"
         "Base.orientation.x,Base.orientation.y,Base.orientation.z,Base.orientation.w", (0, 1, 2, 3)),
        ("pelvis_z,pelvis_y,pelvis_x,pelvis_rot_w,pelvis_rot_z,pelvis_rot_y,pelvis_rot_x", (3, 2, 1, 0)),
    ],
)  # fmt: skip
def test_a_base_pose_is_put_in_order_by_its_names(tmp_path, names, order):
    episode = read(posed(tmp_path, names, order))
    place = np.array(PLACE)[:, ::-1] if names.startswith("pelvis_z") else np.array(PLACE)
    assert np.array_equal(episode.further["base_position"], place.astype(np.float32))
    assert np.allclose(episode.further["base_orientation"], TURN, atol=1e-8)
    assert set(episode.further) == {"base_position", "base_orientation"}
    assert any("-> base_orientation, in the order x y z w" in told for told in episode.conversions)


@pytest.mark.parametrize(
    ("names", "scale", "told"),
    [
        ("root_x,root_y,root_z,root_quat_0,root_quat_1,root_quat_2,root_quat_3", 1, "do not say whether w is first"),
        ("tcp_x,tcp_y,tcp_z,qx,qy,qz,qw", 1, "qx, qy, qz, qw: of what is not said"),
        ("base_x,base_y,base_z,pelvis_qx,pelvis_qy,pelvis_qz,pelvis_qw", 1, "poses of base and pelvis"),
        ("base_qx,base_qy,base_qz,base_x,base_y,base_z,base_qw", 1, "their norm is not 1"),
    ],
)
def test_a_pose_whose_order_or_owner_no_name_proves_stays_as_it_is_named(tmp_path, names, scale, told):
    episode = read(posed(tmp_path, names, scale=scale))
    assert "base_orientation" not in episode.further
    assert any(told in odd for odd in episode.oddities)
    kept = {name for name in names.split(",") if "q" in name}
    assert kept <= set(episode.further)


def test_a_quaternion_of_no_name_beside_two_positions_is_neithers(tmp_path):
    columns = [[0.0, 1.0]] * 3 + [[0.0, 0.0]] * 3 + [[0.0, 0.0]] * 3 + [[1.0, 1.0]]
    path = written(
        tmp_path / "a.csv", "base_x,base_y,base_z,tcp_x,tcp_y,tcp_z,qx,qy,qz,qw,q0_rad", *columns, [0.1, 0.2]
    )
    episode = read(path, rate_hz=50.0)
    assert "base_position" in episode.further
    assert "qw" in episode.further
    assert any("of base or of another pose is not said" in odd for odd in episode.oddities)


def test_a_base_in_millimetres_is_one_in_metres_and_that_is_told(tmp_path):
    names = "base_x [mm],base_y [mm],base_z [mm],qx,qy,qz,qw"
    episode = read(posed(tmp_path, names, scale=1000))
    assert np.array_equal(episode.further["base_position"], np.array(PLACE).astype(np.float32))
    assert {c.name: c.unit for c in episode.channels}["base_position"] == "m"
    assert "base_x: mm to m, as the header declares; rounded to float32" in episode.conversions


def test_columns_of_one_signal_may_each_declare_their_own_unit(tmp_path):
    path = written(
        tmp_path / "a.csv", "t_s,slide.pos [mm],arm.pos [Degrees],tip.pos (radians)", [0, 1], [5, 7], [90, 45], [1, 2]
    )
    episode = read(path)
    assert episode.joints == ("slide", "arm", "tip")
    expected = np.array([[0.005, np.pi / 2, 1], [0.007, np.pi / 4, 2]]).astype(np.float32)
    assert np.array_equal(episode.position, expected)
    assert "arm.pos: deg to rad, as the header declares; rounded to float32" in episode.conversions


SO100 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_joint_that_turns_is_in_no_length(tmp_path, unit):
    header = "t_s," + ",".join(f"{name}.pos [{unit if name == 'elbow_flex' else 'rad'}]" for name in SO100)
    path = written(tmp_path / "a.csv", header, [0, 1], *[[0.1, 0.2]] * 6)
    with pytest.raises(RecordingError, match=f"elbow_flex is declared in {unit}, but elbow_flex of .*so-100 turns"):
        list(open_recording(path, "therobotstudio-so-100"))


def test_a_joint_that_slides_is_in_no_angle(tmp_path):
    model = next(m for m in map(load_model, model_ids()) if {j.unit for j in m.joints} == {"rad", "m"})
    units = {joint.name: joint.unit for joint in model.joints}
    header = "t_s," + ",".join(f"{name}.pos [{unit}]" for name, unit in units.items())
    columns = [[0, 1], *[[0.001, 0.002]] * len(units)]
    right = next(iter(open_recording(written(tmp_path / "a.csv", header, *columns), model.model_id)))
    assert set(right.joints) == set(units)
    with pytest.raises(RecordingError, match=r"is declared in deg, but .* slides"):
        list(open_recording(written(tmp_path / "b.csv", header.replace("[m]", "[deg]"), *columns), model.model_id))


def test_a_joint_that_nearly_all_others_say_is_misspelt_is_told(tmp_path):
    names = [name.replace("elbow_flex", "elbw_flex") for name in SO100]
    header = "t_s," + ",".join(f"{name}.pos [rad]" for name in names)
    path = written(tmp_path / "a.csv", header, [0, 1], *[[0.1, 0.2]] * 6)
    code, found, _ = looked(path)
    assert code == 0
    assert "therobotstudio-so-100, therobotstudio-so-101 all but elbw_flex: is that misspelt?" in found["robot"]["why"]
    five = tuple(name for name in SO100 if name != "elbow_flex")
    bare = written(
        tmp_path / "b.csv", "t_s," + ",".join(f"{name}.pos [rad]" for name in five), [0, 1], *[[0.1, 0.2]] * 5
    )
    episode = read(bare, model="therobotstudio-so-100")
    assert "of the joints of therobotstudio-so-100 elbow_flex is not here: is a name misspelt?" in episode.oddities


@pytest.mark.parametrize("between", [" ", "-"])
def test_names_are_known_with_spaces_and_hyphens(tmp_path, between):
    header = "t_s," + ",".join(f"{name.replace('_', between)}.pos [rad]" for name in SO100)
    path = written(tmp_path / "a.csv", header, [0, 1], *[[0.1, 0.2]] * 6)
    assert next(iter(open_recording(path, "therobotstudio-so-100"))).joints == SO100


def test_a_foreign_unit_stays_with_its_channel_and_its_joint_is_listed(tmp_path):
    path = written(
        tmp_path / "a.csv",
        "t_s,grip.pos [%],arm.pos [rad],arm_temp [°C],load (N),k[0]",
        *([0, 1], [5, 7], [0, 1], [30, 31], [1, 2], [3, 4]),
    )
    code, found, _ = looked(path)
    units = {channel["name"]: channel["unit"] for channel in found["channels"]}
    assert (code, units) == (0, {"position": "rad", "grip.pos": "%", "temp": "C", "load": "N", "k[0]": ""})
    assert found["joints_not_mapped"] == ["arm", "grip"]


def test_joints_that_are_all_in_a_foreign_unit_are_a_channel(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,a.pos [ticks],b.pos [ticks]", [0, 1], [5, 7], [0, 1])
    code, found, _ = looked(path)
    assert (code, found["joints_not_mapped"]) == (0, ["a", "b"])
    assert found["channels"] == [{"name": "joint_position", "width": 2, "unit": "ticks"}]


def test_time_may_declare_its_unit_as_other_columns_do(tmp_path):
    path = written(tmp_path / "a.csv", "time [ms],q0 [rad]", [0, 20, 40], [0, 1, 2])
    assert read(path).t_ns.tolist() == [0, 20_000_000, 40_000_000]


def test_what_a_writer_of_tables_adds_without_a_name_is_left_out(tmp_path):
    (path := tmp_path / "a.csv").write_text(",t_s,q0 [rad],\n0,0,0.1,\n1,0.1,0.2,\n")
    assert read(path).left_out == ("column 1 (no name: it counts the rows)", "column 4 (no name, no values)")
    path.write_text(",t_s,q0 [rad]\n0.5,0,0.1\n1,0.1,0.2\n")
    with pytest.raises(RecordingError, match="gives column 1 no name; every column of values needs one"):
        read(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"t_s,q0_rad,temp_\xb0C\n0,1,2\n", "is no UTF-8: byte 0xb0 stands where none can.*save it as that"),
        ("t_s,q0_rad\n0,1\n".encode("utf-16"), "is no UTF-8: byte 0xff"),
        (b"\0" * 5000, "holds NUL bytes and no text; it was never written whole: copy it anew"),
        (
            b't_s,q0_rad\n"0,5","0,1"\n',
            "no column holds numbers; row 2 begins '0,5', '0,1': write",
        ),
        (
            b"t_s,q" + b" " * 99_999 + b"q0 [\n0,1\n",
            "holds a text of 100,004 characters; a column's name has 200 at most",
        ),
        (b"t_s,q0_rad\n", "has a header and no rows of values; a frame is a row of numbers"),
        (b"t_s,q0_rad,q1_rad,q1_rad\n0,1,2,3\n", "gives columns 3 and 4 the same name, q1_rad"),
        (b"t_s,q0_rad,q1\n0,1,2\n", r"declares rad for some .* nothing for q1; declare .* q1 \[rad\], or say of"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_sentence_that_says_what_to_do(tmp_path, content, told):
    (path := tmp_path / "a.csv").write_bytes(content)
    code = CliRunner().invoke(application(), ["inspect", str(path)])
    assert (code.exit_code, code.stderr.count("\n")) == (2, 1)
    with pytest.raises(RecordingError, match=told):
        read(path)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"joint_pos": np.zeros((5, 3), "f4"), "joint_vel": np.zeros((3, 3), "f4")}, r"joint_pos: 5, joint_vel: 3\)"),
        ({"joint_pos": np.array([[1.0], [2, 3]], object)}, "joint_pos holds Python objects.*save numbers"),
        (
            {"joint_pos": np.array([1, None], object), "joint_names": np.array(["a", None], object)},
            "joint_pos and joint_names hold Python objects",
        ),
        ({"q": np.array([1, None], object)}, r"holds fps int64 \(\), q \(Python objects, which are not read\); an npz"),
        ({"joint_pos": np.float32(3)}, r"joint_pos float32 \(\).*needs joint_pos \(frames, joints\)"),
        ({"joint_pos": np.zeros((5, 3), "f4"), "joint_names": np.array(["a", "b"])}, "names 2 joints, joint_pos has 3"),
    ],
)
def test_an_npz_that_cannot_be_read_says_which_array_and_what_to_do(tmp_path, arrays, told):
    np.savez(path := tmp_path / "a.npz", fps=50, **arrays)
    with pytest.raises(RecordingError, match=told):
        read(path)


def test_an_npz_that_names_its_joints_is_read_by_them(tmp_path):
    np.savez(path := tmp_path / "a.npz", fps=50, joint_pos=np.zeros((5, 2), "f4"), joint_names=np.array(["b", "a"]))
    episode = read(path)
    assert episode.joints == ("b", "a")
    assert not any("names neither" in odd or "only numbered" in odd for odd in episode.oddities)


@pytest.mark.parametrize(
    ("header", "joints"),
    [
        (
            "t_s,joint_pos_0 [rad],joint_pos_1 [rad],joint_vel_0 [rad/s],joint_vel_1 [rad/s]",
            ("joint_pos_0", "joint_pos_1"),
        ),
        ("t_s,q[0] [rad],q[1] [rad],qd[0] [rad/s],qd[1] [rad/s]", ("q[0]", "q[1]")),
        ("t_s,Upper Arm Pos (rad),Elbow Pos (rad),Upper Arm Vel (rad/s),Elbow Vel (rad/s)", ("Upper Arm", "Elbow")),
        ("# t_s,qpos_0 [rad],qpos_1 [rad],qvel_0 [rad/s],qvel_1 [rad/s]", ("qpos_0", "qpos_1")),
        ("# by whom\nt_s,a/pos [rad],b/pos [rad],b/vel [rad/s],a/vel [rad/s]", ("a", "b")),
    ],
)
def test_columns_that_say_what_they_are_of_a_joint_in_other_words(tmp_path, header, joints):
    path = written(tmp_path / "a.csv", header, [0.0, 0.1], [1, 2], [3, 4], [5, 6], [7, 8])
    episode = read(path)
    assert episode.joints == joints
    assert episode.position.tolist() == [[1, 3], [2, 4]]
    turned = header.endswith("a/vel [rad/s]")
    assert episode.velocity.tolist() == ([[7, 5], [8, 6]] if turned else [[5, 7], [6, 8]])
    assert not episode.further


def test_python_objects_nobody_needs_are_left_out_of_an_npz(tmp_path):
    np.savez(path := tmp_path / "a.npz", fps=50, joint_pos=np.zeros((5, 2), "f4"), notes=np.array(["a", None], object))
    assert read(path).left_out == ("notes (Python objects)",)


def test_a_gap_parts_a_csv_where_a_person_says_so(tmp_path):
    t = [0.0, 0.1, 0.2, 100.0, 100.1]
    path = written(tmp_path / "a.csv", "t_s,q0 [rad]", t, [1, 2, 3, 4, 5])
    (whole,) = open_recording(path)
    assert len(whole) == 5
    parts = list(open_recording(path, choices=Choices(split_s=50)))
    assert [one.position.ravel().tolist() for one in parts] == [[1, 2, 3], [4, 5]]
    assert [one.source for one in parts] == ["a.csv#0", "a.csv#1"]
    assert "a gap of more than 50 s begins another episode" in parts[0].conversions
    _, found, _ = looked(path)
    assert (
        "1 gaps of 99.8 s or more: of a bag, CSV or npz --split 50 makes an episode of each part" in found["oddities"]
    )


@pytest.mark.parametrize("options", [{"split_s": 2.0}, {"topic": "/joint_states"}])
def test_an_option_a_format_would_not_heed_is_refused(data_set, options):
    with pytest.raises(RecordingError, match="leave it out"):
        read(data_set, **options)


def test_infinite_values_are_told(tmp_path):
    (path := tmp_path / "a.csv").write_text("t_s,q0 [rad]\n0,inf\n0.1,1\n0.2,-inf\n")
    assert "2 cells are infinite (q0 [rad]: 2)" in read(path).oddities


def test_what_a_person_says_against_what_is_declared_changes_nothing_and_is_told(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,a.pos [rad],b.pos [rad]", [0.0, 0.1], [1, 2], [3, 4])
    episode = read(path, unit="deg", joints=("x", "y"))
    assert (episode.joints, episode.position.tolist()) == (("a", "b"), [[1, 3], [2, 4]])
    told = " ".join(episode.oddities)
    assert "joint_position is declared in rad: --unit deg is of what nobody declares, and changes nothing here" in told
    assert "joint_position names its columns itself: --joints changes nothing there" in told
    assert not read(path, unit="rad", joints=("a", "b")).oddities


def test_grad_is_a_degree_or_a_400th_of_a_turn_and_a_person_says_which(tmp_path):
    for header, options in (("t_s,q0 (Grad),temp (Grad)", {}), ("t_s,Schulter (Grad),b", {"joints": ("Schulter",)})):
        path = written(tmp_path / "a.csv", header, [0.0, 0.1], [90, 45], [20, 21])
        with pytest.raises(
            RecordingError, match=r"\(Grad\) is declared in grad, which is a degree in German and a 400th"
        ):
            read(path, **options)
        episode = read(path, unit="deg", **options)
        assert episode.position.tolist() == [[np.float32(np.pi / 2)], [np.float32(np.pi / 4)]]
        assert read(path, unit="own", **options).channels[0].unit == "grad"
    path = written(tmp_path / "b.csv", "t_s,q0 (Grad)", [0.0, 0.1], [90, 45])
    code, found, _ = looked(path)
    assert (code, found["choose"]) == (2, [f"kinestream publish {path} --unit {unit}" for unit in ("deg", "own")])
    assert found["oddities"][0].startswith("seen as if --unit deg were said")


def test_columns_named_as_positions_in_another_way_than_the_joints_are_called_odd(tmp_path):
    path = written(
        tmp_path / "a.csv",
        "t_s,elbow.pos [rad],wrist.pos [rad],gripper_pos,elbow_raw_pos",
        *([0.0, 0.1], [1, 2], [3, 4], [5, 6], [7, 8]),
    )
    episode = read(path)
    assert (episode.joints, set(episode.further)) == (("elbow", "wrist"), {"gripper_pos", "raw_pos"})
    odd = "gripper_pos: named as a joint's position too, but without the point of elbow.pos: kept as channels"
    assert episode.oddities[0] == odd


@pytest.mark.parametrize("ending", [".mcap", ".bag", ".hdf5", ".npz", ".arrow"])
def test_a_text_under_the_name_of_another_format_is_called_a_text(tmp_path, ending):
    (path := tmp_path / f"a{ending}").write_text("<html>\n404 Not Found</html>\n")
    with pytest.raises(RecordingError, match=r"is no .*: it is a text that begins '<html>'; its download gave"):
        open_recording(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(RecordingError, match=r"it is a text that .*fetch the file itself \(`git lfs pull`\)"):
        open_recording(path)
