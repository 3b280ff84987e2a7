"""The command ``kinestream judge``: what it says of a recording, and the exit code a script can rely on."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.bench.dataset import MODEL, write_dataset
from kinestream.deploy.cli import application
from kinestream.schemas.model_files import content_of
from kinestream.schemas.models import load_model
from tests.plugins.recording_files import FORMATS
from tests.plugins.recordings import write_episode


def run(*arguments):
    done = CliRunner().invoke(application(), ["judge", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean") / "reaches"
    write_dataset(folder, 3)
    return folder


@pytest.fixture
def faulty(tmp_path):
    """Three clean takes; the second then has a joint beyond its limit."""
    folder = tmp_path / "reaches"
    write_dataset(folder, 3)
    beyond = float(load_model(MODEL).upper[3] + 0.2)

    def break_it(table):
        table["observation.state"][300:, 3] = beyond

    rewrite(folder / "data" / "chunk-000" / "episode_000001.parquet", break_it)
    return folder


def rewrite(path, change):
    import pyarrow.parquet as pq

    table = {name: np.array(column.to_pylist()) for name, column in zip(*_columns(pq.read_table(path)), strict=True)}
    table["observation.state"] = table["observation.state"].astype(np.float32)
    table["action"] = table["action"].astype(np.float32)
    change(table)
    write_episode(path.parents[2], int(path.stem.split("_")[1]), table)


def _columns(table):
    return table.column_names, table.columns


def test_accepted_recordings_end_with_0_and_a_line_that_says_so(clean):
    code, out, err = run(clean, "--model", MODEL)
    assert (code, err) == (0, "")
    assert "verdicts   3 ACCEPT" in out
    assert "live only  T3, T7, T9, T10, O1" in out


def test_a_rejected_episode_comes_first_with_its_sentence_and_ends_with_1(faulty):
    code, out, _ = run(faulty, "--model", MODEL)
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "REJECT     reaches/data/chunk-000/episode_000001.parquet"
    told = next(line for line in lines if " I3 " in line)
    assert told.split()[0] == "FAIL"
    assert "left knee" in told
    assert "verdicts   1 REJECT, 2 ACCEPT" in out


def test_json_holds_every_finding_with_its_limit_its_span_and_both_languages(faulty):
    code, out, _ = run(faulty, "--model", MODEL, "--json")
    document = json.loads(out)
    assert code == 1
    assert [one["verdict"] for one in document["episodes"]] == ["REJECT", "ACCEPT", "ACCEPT"]
    worst = document["episodes"][0]
    finding = next(one for one in worst["findings"] if one["metric"] == "I3")
    joint = load_model(MODEL).joint_names[3]
    assert (finding["joint"], finding["flag"], finding["origin"]) == (joint, "FAIL", "robot")
    assert finding["first_seq"] == 300
    assert 9.9 < finding["t_start_s"] < 10.1 < finding["t_end_s"] == pytest.approx(worst["duration_s"], abs=0.05)
    assert finding["message_zh"]
    assert finding["message_zh"] != finding["message"]
    assert {"T3", "T7", "T9", "T10"} <= set(worst["not_evaluated"])
    assert document["not_on_files"]["T9"].startswith("latency")


def test_a_robot_described_by_a_file_is_judged_by_the_limits_in_it(clean, tmp_path):
    content = content_of(load_model(MODEL)) | {"model_id": "bench-g1"}
    narrow = [{**joint, "lower": -0.05, "upper": 0.05} for joint in content["joints"]]
    (tmp_path / "g1.json").write_text(json.dumps(content | {"joints": narrow}))
    code, out, _ = run(clean, "--model", tmp_path / "g1.json", "--json")
    episodes = json.loads(out)["episodes"]
    assert code == 1
    assert {one["verdict"] for one in episodes} == {"REJECT"}
    assert all("bench-g1@" in one["rule_version"] for one in episodes)
    limit = next(f for f in episodes[0]["findings"] if f["metric"] == "I3")
    assert "-0.05 to 0.05 rad" in limit["message"]


def test_several_processes_say_what_one_says_in_the_same_order(tmp_path):
    folder = tmp_path / "many"
    write_dataset(folder, 70)  # more than two shares
    one, two = (json.loads(run(folder, "--model", MODEL, "--json", "--jobs", jobs)[1]) for jobs in (1, 2))
    assert one | {"seconds": 0} == two | {"seconds": 0}
    assert len(one["episodes"]) == 70


def test_the_page_is_written_and_a_folder_that_takes_none_is_an_error(faulty, tmp_path):
    html = tmp_path / "report.html"
    code, _, err = run(faulty, "--model", MODEL, "--html", html)
    assert (code, err) == (1, "")
    assert "left knee" in html.read_text()
    code, _, err = run(faulty, "--model", MODEL, "--html", tmp_path / "absent" / "report.html")
    assert code == 2
    assert "cannot be written" in err


def test_what_cannot_be_read_ends_with_2_and_the_others_are_judged(clean, tmp_path):
    damaged = tmp_path / "cut.csv"
    damaged.write_bytes(b"no recording at all")
    code, out, err = run(clean, damaged, tmp_path / "absent", "--model", MODEL)
    assert code == 2
    assert "verdicts   3 ACCEPT" in out
    assert [line.startswith("error: ") for line in err.splitlines()] == [True, True]


def test_a_robot_nobody_described_is_unassessed_and_told_why(clean):
    code, out, _ = run(clean, "--model", "provisional:thing")
    assert code == 1
    assert "required and NOT_EVALUATED: I3" in out
    assert "verdicts   3 UNASSESSED" in out


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_the_project_reads_is_judged(name, tmp_path):
    write, choices = FORMATS[name]
    options = ["--model", choices.model] if choices.model else []
    options += ["--rate", str(choices.rate_hz)] if choices.rate_hz else []
    options += ["--unit", choices.unit] if choices.unit else []
    code, out, err = run(write(tmp_path), *options, "--json")
    assert (code, err) == (1, "")  # a few frames are too short a take
    document = json.loads(out)
    assert all({"E6"} <= {finding["metric"] for finding in one["findings"]} for one in document["episodes"])
    assert document["episodes"]
