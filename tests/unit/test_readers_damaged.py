"""Damaged recordings: each reader answers with the values or with one sentence, soon and in bounded memory."""

import json
import sqlite3
import subprocess
import sys

import pytest

from kinestream.producers.recordings import open_recording
from kinestream.schemas.errors import RecordingError
from tests.plugins.recording_files import FORMATS


def test_a_damaged_copy_of_any_format_is_read_or_refused_in_one_sentence():
    """Each format in a process of its own (3 GiB of address space, 20 s of CPU), so that a crash is seen."""
    command = [sys.executable, "-m", "tests.apps.read_damaged"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert set(found) == set(FORMATS)
    assert {name: f for name, f in found.items() if f["exit"] or f["wrong"]} == {}
    assert all(f["frames"] > 0 and f["refused"] > 2 for f in found.values())


def test_a_damaged_text_in_an_hdf5_file_does_not_end_the_process(tmp_path):
    """One byte of a text's type, and libhdf5 follows a pointer that leads nowhere."""
    path = FORMATS["robomimic"][0](tmp_path)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"env_args") + 17] = 0xFF
    path.write_bytes(raw)
    crash = f"import h5py; h5py.File({str(path)!r})['data'].attrs['env_args']"
    assert subprocess.run([sys.executable, "-c", crash], timeout=60, capture_output=True).returncode < 0
    with pytest.raises(RecordingError, match="the attribute env_args of /data is damaged; copy the file anew"):
        open_recording(path)


def spoiled(folder, kind, change):
    """A rosbag2 whose one file ``change`` has changed; and that file."""
    bag = FORMATS[f"rosbag2-{kind}"][0](folder)
    (file,) = bag.glob(f"*.{kind}")
    change(file)
    return bag, file


def cut(file):
    file.write_bytes(file.read_bytes()[:-300])


def another_letter(file):
    with sqlite3.connect(file) as base:
        number, raw = base.execute("SELECT id, data FROM messages ORDER BY id LIMIT 1 OFFSET 5").fetchone()
        base.execute("UPDATE messages SET data = ? WHERE id = ?", (raw.replace(b"elbow", b"elb\x7fw"), number))


def no_message(file):
    with sqlite3.connect(file) as base:
        base.execute("UPDATE messages SET data = substr(data, 1, 60) WHERE id = 5")


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("mcap", cut, "is damaged or no file of a rosbag2"),
        ("db3", cut, "is damaged or no file of a rosbag2"),
        ("db3", no_message, "is damaged or no message of /joint_"),
        ("db3", another_letter, "where those before it name 'elbow_joint'.*the file is damaged"),
    ],
)
def test_the_damaged_file_of_a_bag_in_a_folder_is_named(tmp_path, kind, change, told):
    bag, file = spoiled(tmp_path, kind, change)
    with pytest.raises(RecordingError, match=told) as refused:
        open_recording(bag, "universal-robots-ur5e")
    assert str(refused.value).startswith(str(file))
