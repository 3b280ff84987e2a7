"""Rules as data: overlays override by name, a version stands for all that applies, mistakes say what is allowed."""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files

import pytest
import yaml

from kinestream.schemas.errors import RulesError
from kinestream.schemas.models import model_ids
from kinestream.schemas.rulebook import join_rules, load_rules
from kinestream.schemas.skills import load_skills
from kinestream.streams.quality import BUILTIN, Rules
from kinestream.streams.quality.rules import rules_of

FOLDER = files("kinestream.schemas") / "rules"
GLOBAL = ("global.yaml", (FOLDER / "global.yaml").read_text(encoding="utf-8"))


def overlay(**content):
    return "overlay.yaml", yaml.safe_dump({"name": "overlay", "version": 1, **content})


def test_the_committed_rules_are_what_a_judge_reads():
    assert load_rules().thresholds.keys() | {"version", "required", "classes"} == {f.name for f in fields(Rules)}
    assert BUILTIN.version == load_rules().version
    assert BUILTIN.version.startswith("kinestream-2@")


def test_an_overlay_changes_what_it_names_and_the_version_and_nothing_else():
    plain, changed = join_rules([GLOBAL]), join_rules([GLOBAL, overlay(thresholds={"stall_suspect_s": 5.0})])
    assert {k: v for k, v in changed.thresholds.items() if plain.thresholds[k] != v} == {"stall_suspect_s": 5.0}
    assert changed.version.startswith("kinestream-2+overlay-1@")
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
        ([GLOBAL, overlay(threshold={})], "overlay.yaml has threshold: allowed are name, required"),
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
