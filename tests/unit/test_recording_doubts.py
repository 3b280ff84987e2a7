"""What a file leaves in doubt, or holds that no frame can: refused in one sentence that says what to do."""

import h5py
import numpy as np
import pytest

from kinestream.producers.recordings import Choices, open_recording
from kinestream.schemas.errors import RecordingError

HEADER = "{time},elbow.pos [rad],wrist.pos [rad]"


def csv_file(path, time="t_s", rows=("0,0.1,0.2", "0.02,0.2,0.3", "0.04,0.3,0.4")):
    path.write_text("\n".join([HEADER.format(time=time), *rows]) + "\n")
    return path


def read(path, **choices):
    return list(open_recording(path, choices=Choices(**choices)))


@pytest.mark.parametrize("first", [0, 1_760_000_000_000])
def test_stamps_of_no_declared_unit_that_would_be_slower_than_a_frame_a_second(tmp_path, first):
    rows = [f"{first + 20 * k},0.{k},0.2" for k in range(5)]
    with pytest.raises(RecordingError, match=r"column time declares no unit and goes in steps of 20.*time_ms"):
        read(csv_file(tmp_path / "a.csv", "time", rows))
    (episode,) = read(csv_file(tmp_path / "a.csv", "time_ms", rows))
    assert np.diff(episode.t_ns).tolist() == [20_000_000] * 4
    if not first:
        (slow,) = read(csv_file(tmp_path / "a.csv", "time_s", rows))
        assert np.diff(slow.t_ns).tolist() == [20 * 10**9] * 4, "declared is declared"


def test_stamps_that_are_text(tmp_path):
    rows = [f"2026-01-01T00:00:0{k}Z,0.{k},0.2" for k in range(3)]
    with pytest.raises(RecordingError, match="the stamps of timestamp are text, which is not read"):
        read(csv_file(tmp_path / "a.csv", "timestamp", rows))
    (episode,) = read(csv_file(tmp_path / "a.csv", "timestamp", rows), rate_hz=50.0)
    assert len(episode.t_ns) == 3


def test_a_value_beyond_float32(tmp_path):
    path = csv_file(tmp_path / "a.csv", rows=("0,0.1,0.2", "0.02,0.2,1e300", "0.04,-1e39,0.4"))
    with pytest.raises(RecordingError, match=r"holds 1e\+300 in frame 1, column 2 \(and 1 more\): more than a float32"):
        read(path)


@pytest.mark.parametrize("text", ["t_s;elbow.pos [rad]\n0;0,1\n0,02;0,2\n", "t_s\telbow.pos\n0\t0.1\n"])
def test_values_that_no_commas_part(tmp_path, text):
    (path := tmp_path / "a.csv").write_text(text)
    with pytest.raises(RecordingError, match="parted by ';' or tabs; part them by commas"):
        read(path)


def test_a_later_name_may_hold_such_a_sign(tmp_path):
    (path := tmp_path / "a.csv").write_text(
        "t_s,elbow.pos [rad],wrist.pos [rad],note; why\n0,0.1,0.2,1\n0.02,0.2,0.3,2\n"
    )
    (episode,) = read(path)
    assert episode.joints == ("elbow", "wrist")


def test_headers_are_named_as_joints_may_be_given(tmp_path):
    (path := tmp_path / "a.csv").write_text("t_s,elbow_rad,wrist_rad\n0,0.1,0.2\n0.02,0.2,0.3\n")
    with pytest.raises(RecordingError, match="it has elbow, wrist;"):
        read(path)
    (episode,) = read(path, joints=("elbow", "wrist"))
    assert episode.joints == ("elbow", "wrist")


def test_fourteen_columns_beyond_what_two_of_alohas_arms_turn_are_another_robots(tmp_path):
    """ACT's layout says radians of ACT's robot; 90 of them is none of its joints, and nobody says what it is."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        turned = np.linspace(0, 90, 14 * 20).reshape(20, 14)
        file["observations/qpos"] = file["action"] = turned
    (episode,) = read(tmp_path / "a.hdf5")
    assert episode.position is None
    assert "left_waist" not in str(episode.channels)
    assert any("in a unit nobody declares, too far for radians" in odd for odd in episode.oddities)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_kept_and_called_odd_in_every_format(tmp_path, value):
    moves = np.zeros((5, 2), np.float32)
    moves[3, 1] = value
    arrays = {"joint_pos": moves, "joint_vel": np.zeros((5, 2), np.float32), "joint_names": np.array(["a", "b"])}
    np.savez(path := tmp_path / "a.npz", fps=50, **arrays)
    (episode,) = read(path)
    assert np.array_equal(episode.position, moves, equal_nan=True)
    assert "position holds NaN or infinity: kept as it is" in episode.oddities
