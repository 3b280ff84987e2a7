"""The commands ``kinestream robots``: what a person sees, what a program reads, and one line for every mistake."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.deploy.judging.judged import judge_recorded
from kinestream.deploy.robot_models import KnownModel
from kinestream.producers.recordings import RecordedEpisode
from kinestream.schemas.lacking import lack_limits, lacking
from kinestream.schemas.model_files import content_of, read_model
from kinestream.schemas.models import load_model, model_ids
from tests.unit.test_descriptions import BOMB, MJCF, URDF


@pytest.fixture
def robots(tmp_path):
    """The command on a machine where nothing runs."""

    def run(*words):
        environment = {"KINESTREAM_HOME": str(tmp_path / "home"), "KINESTREAM_KAFKA": "", "KINESTREAM_CLICKHOUSE": ""}
        done = CliRunner().invoke(application(), ["robots", *map(str, words)], env=environment)
        return done.exit_code, done.stdout, done.stderr

    return run


def test_every_described_model_is_listed_with_how_many_limits_are_known(robots):
    code, out, err = robots("list", "--offline", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert [one["model_id"] for one in found] == list(model_ids())
    assert {one["state"] for one in found} == {"described"}
    h1 = next(one for one in found if one["model_id"] == "unitree-h1-2")
    assert (h1["joints"], h1["known"]) == (27, {"position": 27, "velocity": 0, "effort": 0})
    code, out, _ = robots("list", "--offline", "--maker", "franka")
    assert (code, [line.split()[0] for line in out.splitlines()[1:3]]) == (0, ["franka-fr3", "franka-panda"])


def test_everything_is_readable_at_100_columns(robots):
    assert max(map(len, robots("list", "--offline")[1].splitlines())) <= 100
    for part in ("realman", "robonaut", "xr-teleoperate", "tiago-single", "atlas", "icublisboa"):
        (model_id,) = (model for model in model_ids() if part in model)
        assert max(map(len, robots("show", model_id)[1].splitlines())) <= 100, model_id


def test_a_model_says_what_is_not_judged_for_lack_of_limits(robots):
    out = robots("show", "unitree-h1-2")[1]
    assert "not judged for lack of velocity limits: I4, I8, I9 of every joint\n" in out
    assert "not judged for lack of effort limits: I5, I5.saturated of every joint\n" in out
    assert "lack of position limits" not in out
    out = robots("show", "ihmc-alex-nub-hands")[1]
    assert "not judged for lack of velocity limits: I4, I8, I9 of RightShoulderPitch" in out
    assert "not judged" not in robots("show", "franka-fr3")[1]


def test_a_provisional_model_tells_what_a_description_would_judge_from_what_has_other_reasons(robots, monkeypatch):
    one = KnownModel("lab-arm", "", "", "", "", "provisional", 2, ("a", "b"), {}, 1, 3, ("D1", "I3", "I5"), ("I3",))
    longest = replace(one, model_id="arm-" * 24 + "1")
    monkeypatch.setattr("kinestream.deploy.robot_models._provisional", lambda known: [one, longest])
    listed = robots("list")[1]
    assert longest.model_id in listed
    assert max(map(len, listed.splitlines())) <= 100
    for words in (("list",), ("show", "lab-arm")):
        out = robots(*words)[1]
        assert "lab-arm: provisional, nobody has described it; 1 robots sent 3 episodes\n" in out
        assert "not judged for lack of limits, in its newest episode: I3\n" in out
        assert "not judged for other reasons, which a description would not change: D1, I5\n" in out
    assert "joints a, b" in out


@pytest.mark.parametrize("measured", [("position",), ("position", "velocity", "effort", "command")])
def test_what_lacks_limits_is_what_a_description_would_have_judged(measured):
    """The judge itself: one take of a described model, and the same of a model nobody knows."""
    rng, model = np.random.default_rng(1), load_model("franka-fr3")
    q = np.cumsum(rng.normal(0, 1e-3, (400, 7)), axis=0).astype(np.float32) + ((model.lower + model.upper) / 2)
    signals = dict.fromkeys(measured, q.astype(np.float32))
    t_ns = np.arange(400, dtype=np.int64) * 10_000_000
    take = RecordedEpisode("x", model.model_id, model.joint_names, (), 100.0, t_ns, 1, False, **signals)

    def not_evaluated(take):
        rows = judge_recorded(take).judgement.metrics
        return [row.id for row in rows if not row.joint and row.flag == "NOT_EVALUATED"]

    unknown = not_evaluated(replace(take, model_id="nobody-knows"))
    by_description = set(unknown) - set(not_evaluated(take))
    assert set(lack_limits(unknown, measured)) == by_description != set()


@pytest.mark.parametrize("model_id", ["franka-fr3", "fourier-n1", "therobotstudio-so-100", "hightorque-hi-25-dof"])
def test_what_a_described_model_lacks_is_what_the_judge_cannot_evaluate(model_id):
    model = load_model(model_id)
    q = np.cumsum(np.random.default_rng(1).normal(0, 1e-3, (400, len(model.joint_names))), axis=0).astype(np.float32)
    t_ns = np.arange(400, dtype=np.int64) * 10_000_000
    signals = dict.fromkeys(("position", "velocity", "effort", "command"), q)
    take = RecordedEpisode("x", model_id, model.joint_names, (), 100.0, t_ns, 1, False, **signals)
    rows = judge_recorded(take).judgement.metrics
    unevaluated = {row.id for row in rows if not row.joint and row.flag == "NOT_EVALUATED"}
    assert unevaluated & lacking(None).keys() == lacking(model).keys()


def test_where_nothing_runs_the_list_says_what_it_cannot_show(robots):
    code, out, err = robots("list")
    assert (code, "52 described, 0 registered, 0 provisional" in out) == (0, True)
    assert err.splitlines() == [
        "note: not all is shown: registered models (no broker runs: `kinestream up`, or set KINESTREAM_KAFKA)",
        "note: not all is shown: provisional models (no store runs: `kinestream up`, or set KINESTREAM_CLICKHOUSE)",
    ]


def test_a_model_is_shown_with_joints_limits_other_names_and_source(robots):
    code, out, _ = robots("show", "unitree-g1-29-dof")
    assert code == 0
    for said in (load_model("unitree-g1-29-dof").version, "left_knee_joint", "-0.087267", "fan-ziqi/robot_lab",
                 "kLeftElbow = left_elbow_joint", "LeftKnee = left_knee_joint"):  # fmt: skip
        assert said in out
    shown = json.loads(robots("show", "unitree-g1-29-dof", "--json")[1])
    assert shown.pop("version") == load_model("unitree-g1-29-dof").version
    assert shown == content_of(load_model("unitree-g1-29-dof"))
    code, out, err = robots("show", "unitree-g1-29")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "unitree-g1-29-dof, " in err


@pytest.mark.parametrize(("name", "text"), [("arm.urdf", URDF), ("arm.xml", MJCF.format(angle="degree", auto="true"))])
def test_an_import_writes_a_draft_and_says_what_to_look_at(name, text, robots, tmp_path):
    (tmp_path / name).write_text(text)
    out_file = tmp_path / "draft.json"
    code, out, err = robots("import", tmp_path / name, "--maker", "Lab", "--id", "lab-arm", "--out", out_file)
    assert code == 0
    assert f"robots register {out_file}" in out
    draft = read_model(out_file)
    assert (draft.model_id, draft.maker, draft.source.path) == ("lab-arm", "Lab", name)
    assert [line.removeprefix("note: ") for line in err.splitlines()] == list(draft.notes) != []
    code, printed, _ = robots("import", tmp_path / name, "--maker", "Lab", "--id", "lab-arm")
    assert printed == out_file.read_text()
    told = json.loads(robots("import", tmp_path / name, "--maker", "Lab", "--id", "lab-arm", "--json")[1])
    assert (told["version"], told["model"]) == (draft.version, content_of(draft))


def test_a_broken_file_is_one_line_and_exit_code_2(robots, tmp_path):
    (tmp_path / "bomb.urdf").write_text(BOMB)
    (tmp_path / "bad.json").write_text("{}")
    for words in (
        ("import", tmp_path / "bomb.urdf"),
        ("import", tmp_path / "gone.urdf"),
        ("show", tmp_path / "bad.json"),
        ("diff", "franka-panda", tmp_path / "bad.json"),
        ("register", tmp_path / "bad.json", "--by", "p7"),
    ):
        code, out, err = robots(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("error: ")


def test_a_registration_needs_a_name_and_a_broker(robots, tmp_path):
    file = tmp_path / "m.json"
    file.write_text(json.dumps(content_of(load_model("franka-panda"))))
    assert "--by is empty" in robots("register", file, "--by", " ")[2]
    assert "no broker" in robots("register", file, "--by", "p7")[2]


def test_a_difference_is_told_joint_by_joint_with_exit_code_1(robots, tmp_path):
    content = content_of(load_model("franka-fr3"))
    content["joints"][0]["upper"] = 1.0
    gone = content["joints"].pop()
    (tmp_path / "mine.json").write_text(json.dumps(content))
    code, out, _ = robots("diff", "franka-fr3", tmp_path / "mine.json", "--json")
    assert code == 1
    assert [(d["joint"], d["field"], d["second"]) for d in json.loads(out)] == [
        (content["joints"][0]["name"], "upper", 1.0),
        (gone["name"], "joint", None),
    ]
    code, out, _ = robots("diff", "franka-fr3", "franka-fr3")
    assert (code, out) == (0, "no difference\n")


def test_another_order_is_a_difference(robots, tmp_path):
    content = content_of(load_model("franka-fr3"))
    content["joints"].reverse()
    (tmp_path / "mine.json").write_text(json.dumps(content))
    code, out, _ = robots("diff", "franka-fr3", tmp_path / "mine.json", "--json")
    assert (code, [d["field"] for d in json.loads(out)]) == (1, ["order"])


def test_what_a_person_reads_fits_a_hundred_columns_and_loses_nothing(robots, tmp_path):
    long = "kinova-jaco-two-arm-example"
    content = content_of(load_model(long))
    content["joints"].reverse()
    (tmp_path / "a-file-of-a-rather-long-name-as-people-give-them.json").write_text(json.dumps(content))
    order = robots("diff", long, tmp_path / "a-file-of-a-rather-long-name-as-people-give-them.json")[1]
    apart = robots("diff", long, "unitree-g1-29-dof-inspire-dfq-hands")[1]
    for out in (robots("list", "--offline")[1], *(robots("show", m)[1] for m in model_ids()), order, apart):
        assert max(map(len, out.splitlines())) <= 100
    assert "".join(load_model(long).joint_names[-1].split()) in "".join(order.split())
