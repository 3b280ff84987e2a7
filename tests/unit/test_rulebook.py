"""Rules as data: overlays override by name, a version stands for all that applies, mistakes say what is allowed."""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files

import pytest
import yaml

from kinestream.schemas.errors import RulesError
from kinestream.schemas.models import model_ids
from kinestream.schemas.rulebook import join_rules, load_rules, overlays_for, read_overlays
from kinestream.schemas.skills import load_skills
from kinestream.streams.judging import episode_rules
from kinestream.streams.quality import BUILTIN, Rules
from kinestream.streams.quality.rules import rules_of

FOLDER = files("kinestream.schemas") / "rules"
GLOBAL = ("global.yaml", (FOLDER / "global.yaml").read_text(encoding="utf-8"))


def overlay(**content):
    return "overlay.yaml", yaml.safe_dump({"name": "overlay", "version": 1, **content})


def test_the_committed_rules_are_what_a_judge_reads():
    assert load_rules().thresholds.keys() | {"version", "required", "classes"} == {f.name for f in fields(Rules)}
    assert BUILTIN.version == load_rules().version
    assert BUILTIN.version.startswith("kinestream-3@")


def test_an_overlay_changes_what_it_names_and_the_version_and_nothing_else():
    plain, changed = join_rules([GLOBAL]), join_rules([GLOBAL, overlay(thresholds={"stall_suspect_s": 5.0})])
    assert {k: v for k, v in changed.thresholds.items() if plain.thresholds[k] != v} == {"stall_suspect_s": 5.0}
    assert changed.version.startswith("kinestream-3+overlay-1@")
    assert changed.version.partition("@")[2] != plain.version.partition("@")[2]


def test_an_overlay_may_require_more_and_never_less():
    assert join_rules([GLOBAL, overlay(required=["K1", "T5"])]).required == ("T5", "I1", "I3", "E6", "K1")


def test_the_last_overlay_wins():
    both = [GLOBAL, overlay(thresholds={"loss_fail": 0.02}), overlay(thresholds={"loss_fail": 0.03})]
    assert join_rules(both).thresholds["loss_fail"] == 0.03


def test_comments_and_order_of_the_file_do_not_change_the_version():
    document = yaml.safe_load(GLOBAL[1])
    document["thresholds"] = dict(reversed(document["thresholds"].items()))
    assert join_rules([("x.yaml", yaml.safe_dump(document, sort_keys=False))]).version == load_rules().version


def test_a_label_from_outside_is_never_a_path():
    assert load_rules("../global", "../../skills", "../x").version == load_rules().version


def test_every_committed_overlay_belongs_to_something_that_exists_and_applies():
    skills = {skill.id for skill in load_skills().skills}
    for folder, known in (("models", set(model_ids())), ("skills", skills)):
        place = FOLDER / folder
        for file in place.iterdir() if place.is_dir() else ():
            name = file.name.removesuffix(".yaml")
            assert name in known
            assert load_rules(name if folder == "models" else "", name if folder == "skills" else "").version != (
                BUILTIN.version
            )


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([("a.yaml", "[1, 2]")], "a.yaml holds list"),
        ([("a.yaml", "a: [")], "a.yaml is not YAML"),
        ([overlay(thresholds={})], "overlay.yaml lacks classes, required"),
        ([GLOBAL, overlay(threshold={})], "overlay.yaml, line 2 has threshold: allowed are model, name, required"),
        ([GLOBAL, overlay(thresholds={"loss_fial": 1})], "no threshold 'loss_fial'; near it: loss_fail"),
        ([GLOBAL, overlay(thresholds={"loss_fail": "1 %"})], "loss_fail is '1 %': a finite number"),
        ([GLOBAL, overlay(thresholds={"loss_fail": True})], "loss_fail is True"),
        ([GLOBAL, overlay(thresholds={"loss_fail": float("inf")})], "loss_fail is inf"),
        ([GLOBAL, overlay(thresholds={"limit_frames": 1.5})], "it counts, so a whole number"),
        ([GLOBAL, overlay(thresholds={"rate_suspect": 0.4})], "rate_suspect is 0.4 and fails at 0.3 already"),
        ([GLOBAL, overlay(required=["T99"])], "required metric 'T99' is not one of"),
        ([GLOBAL, overlay(required="T5")], "a list of metrics"),
        ([GLOBAL, overlay(version="1")], "version '1' an integer"),
        ([GLOBAL, overlay(thresholds=3)], "thresholds is 3"),
    ],
)
def test_a_mistake_says_where_and_what_is_allowed(documents, said):
    with pytest.raises(RulesError, match=said):
        join_rules(documents)


def test_a_metric_in_two_classes_or_a_class_that_is_none_is_refused():
    document = yaml.safe_load(GLOBAL[1])
    document["classes"]["risk"].append("T1")
    with pytest.raises(RulesError, match="T1 stands in two classes"):
        join_rules([("x.yaml", yaml.safe_dump(document))])
    del document["classes"]["risk"]
    with pytest.raises(RulesError, match="must list metrics under gate, risk, information"):
        join_rules([("x.yaml", yaml.safe_dump(document))])


def test_rules_that_lack_a_threshold_the_code_reads_are_refused():
    document = yaml.safe_load(GLOBAL[1])
    del document["thresholds"]["loss_fail"]
    with pytest.raises(RulesError, match="loss_fail"):
        rules_of(join_rules([("x.yaml", yaml.safe_dump(document))]))


# -- rules besides the committed ones -----------------------------------------------------------------------------


def written(folder, **files):
    """A folder of rules; a name such as ``skills__pour`` is a file of a folder."""
    for name, thresholds in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(overlay(thresholds=thresholds)[1], encoding="utf-8")
    return folder


def test_model_skill_and_subtask_override_each_other_in_this_order(tmp_path):
    overlays = read_overlays(
        written(
            tmp_path,
            **{"global": {"stall_suspect_s": 1.0, "idle_suspect": 0.2, "loss_fail": 0.05, "shortest_s": 0.5}},
            **{"models__so-100": {"stall_suspect_s": 2.5, "idle_suspect": 0.21}},
            skills__pour={"stall_suspect_s": 3.5, "loss_fail": 0.06},
            **{"subtasks__pour.align": {"stall_suspect_s": 4.5}},
        )
    )
    names = ("stall_suspect_s", "idle_suspect", "loss_fail", "shortest_s")

    def found(*whose):
        return tuple(load_rules(*whose, overlays=overlays).thresholds[name] for name in names)

    assert found() == (1.0, 0.2, 0.05, 0.5)
    assert found("so-100") == (2.5, 0.21, 0.05, 0.5)
    assert found("so-100", "pour") == (3.5, 0.21, 0.06, 0.5)
    assert found("so-100", "pour", "align") == (4.5, 0.21, 0.06, 0.5)
    assert found("other", "fold", "align") == (1.0, 0.2, 0.05, 0.5)
    assert load_rules("so-100", "pour", overlays=overlays).version.startswith("kinestream-3+overlay-1+overlay-1+")


def test_only_what_applies_to_an_episode_travels_and_says_the_same(tmp_path):
    overlays = read_overlays(written(tmp_path, skills__pour={"loss_fail": 0.06}, skills__fold={"loss_fail": 0.07}))
    mine = overlays_for(overlays, "m", "pour")
    assert "fold" not in mine
    assert load_rules("m", "pour", overlays=mine) == load_rules("m", "pour", overlays=overlays)
    assert overlays_for(overlays, "m", "grasp") == "[]"
    assert load_rules("m", "grasp", overlays="[]").version == load_rules().version


def test_one_file_may_say_what_it_is_for(tmp_path):
    path = tmp_path / "strict.yaml"
    path.write_text(overlay(skill="pour", thresholds={"loss_fail": 0.06})[1], encoding="utf-8")
    overlays = read_overlays(path)
    assert load_rules("", "pour", overlays=overlays).thresholds["loss_fail"] == 0.06
    assert load_rules("", "fold", overlays=overlays).version == load_rules().version


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("skills/pourr.yaml", "name: a\nversion: 1", "skill 'pourr' is not in skills.yaml; near it: pour"),
        ("subtasks/pour.yaml", "name: a\nversion: 1", "subtask '' .it is written SKILL.SUBTASK."),
        ("skills/pour.yaml", "name: a\nversion: 1\nskill: fold", "line 3: skill 'fold' in rules for skill pour"),
        ("rules.yaml", "name: a\nversion: 1", "rules.yaml in .* is no rules file: global.yaml, models"),
        ("models/so-100.yml", "name: a\nversion: 1", "so-100.yml in .* is no rules file"),
        ("global.yaml", "name: a\nversion: 1\nthresholds:\n  loss_fail: .nan", "global.yaml, line 4: .* is nan"),
        ("global.yaml", "name: a\nversion: 1\nname: b", "line 3: name stands twice"),
        ("global.yaml", "name: a\nversion: yes", "line 2: name 'a' must be text and version True an integer"),
        ("global.yaml", "name: a\nversion: 1\nthresholds:\n  rate_fail: 0.05", "line 4: rate_suspect is 0.1 and fails"),
    ],
)
def test_a_mistake_in_a_folder_says_file_and_line(tmp_path, name, text, said):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RulesError, match=said):
        read_overlays(tmp_path)


def test_rules_that_contradict_each_other_only_together_are_refused(tmp_path):
    both = {"models__so-100": {"rate_suspect": 0.25}, "skills__pour": {"rate_fail": 0.2}}
    with pytest.raises(RulesError, match=r"rate_suspect is 0.25 and fails at 0.2 already"):
        read_overlays(written(tmp_path, **both))


@pytest.mark.parametrize("path", ["nowhere.yaml", "."])
def test_rules_that_are_not_there_are_no_rules(tmp_path, path):
    with pytest.raises(RulesError, match=r"cannot be read|holds no rules"):
        read_overlays(tmp_path / path)


@pytest.mark.parametrize("text", ["{}", "[3]", "[", '[{"file":"a"}]', '[{"file":"a","scope":"robot","of":"x"}]'])
def test_overlays_from_a_log_are_checked_as_files_are(text):
    with pytest.raises(RulesError):
        load_rules(overlays=text)


def test_an_episode_is_judged_by_its_own_scopes(tmp_path):
    overlays = read_overlays(written(tmp_path, **{"subtasks__pour.align": {"loss_fail": 0.06}}))
    start = {"model_id": "m", "skill": "pour", "subtasks": ["align"]}
    assert episode_rules(start, overlays).loss_fail == 0.06
    assert episode_rules({**start, "subtasks": ["align", "act"]}, overlays).loss_fail == 0.01
    assert episode_rules({**start, "pins": {"rules": "[]"}}, overlays).loss_fail == 0.01
