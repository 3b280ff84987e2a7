"""The vocabulary of labels: 45 skills and 10 areas with stable, well-formed ids in two languages."""

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.schemas.skills import load_skills
from tests.assembling import Log, Owner, Take

NAMED_IN_THE_DESIGN = {
    "grasp", "place", "transport", "pick_place", "handover", "pour", "fold", "wipe", "open_door", "press_button",
}  # fmt: skip
AREAS = {
    "household", "industry", "logistics", "retail", "catering",
    "tourism", "healthcare", "eldercare", "education", "laboratory",
}  # fmt: skip


def test_there_are_forty_five_skills_and_the_ten_areas():
    vocabulary = load_skills()
    assert len({skill.id for skill in vocabulary.skills}) == len(vocabulary.skills) == 45
    assert {skill.id for skill in vocabulary.skills} >= NAMED_IN_THE_DESIGN
    assert len(vocabulary.areas) == 10
    assert {area.id for area in vocabulary.areas} == AREAS


@pytest.mark.parametrize("group", ["areas", "skills", "subtasks", "scene_levels"])
def test_every_term_has_a_well_formed_id_and_a_name_in_both_languages(group):
    terms = getattr(load_skills(), group)
    for term in terms:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*|L[1-4]", term.id), term
        assert term.en.isascii(), term
        assert re.fullmatch(r"[一-鿿]+", term.zh), term
    for language in ("id", "en", "zh"):
        names = [getattr(term, language) for term in terms]
        assert len(set(names)) == len(names)


def test_scene_levels_are_those_of_the_start_record():
    assert [level.id for level in load_skills().scene_levels] == ["L1", "L2", "L3", "L4"]


def test_an_id_is_looked_up_and_an_unlisted_one_is_simply_not_there():
    vocabulary = load_skills()
    assert vocabulary.skill("pour").zh == "倾倒"
    assert vocabulary.area("tourism").en == "Tourism"
    assert vocabulary.skill("juggle") is None
    assert vocabulary.area("space") is None


def test_every_area_has_skills_and_every_skill_names_listed_areas():
    vocabulary = load_skills()
    assert {area for skill in vocabulary.skills for area in skill.areas} == AREAS
    assert all(10 <= len(vocabulary.skills_of(area)) < 45 for area in AREAS)
    assert "pour" in {skill.id for skill in vocabulary.skills_of("laboratory")}
    assert "pour" not in {skill.id for skill in vocabulary.skills_of("logistics")}
    assert "grasp" in {skill.id for skill in vocabulary.skills_of("logistics")}


def test_the_command_lists_them_and_says_whose_list_it_is():
    run = lambda *words: CliRunner().invoke(application(), ["skills", *words])  # noqa: E731
    everything = json.loads(run("--json").stdout)
    assert [len(everything[name]) for name in ("skills", "areas", "subtasks", "scene_levels")] == [45, 10, 8, 4]
    some = json.loads(run("--area", "laboratory", "--json").stdout)["skills"]
    assert [skill["id"] for skill in some] == [skill.id for skill in load_skills().skills_of("laboratory")]
    told = run().stdout
    assert "Kinestream's own" in told
    assert "倾倒" in told
    refused = run("--area", "space")
    assert (refused.exit_code, "household" in refused.stderr) == (2, True)


def test_a_take_with_an_unlisted_skill_is_accepted_with_a_finding_until_it_is_corrected():
    take, log, owner = Take(), Log(), Owner()
    start = take.start(skill="juggle", area="household")
    owner.feed(log.append(start, *take.chunks(), take.end()))
    (event,) = owner.store.events
    (told,) = [f for f in event["findings"] if f["metric"] == "LABEL_UNLISTED"]
    assert (event["verdict"], event["skill"], told["joint"]) == ("ACCEPT", "juggle", "skill")
    assert told["message"] == "Skill juggle is not listed (schemas/skills.yaml): kept as it is"


def test_listed_labels_and_none_make_no_finding():
    for labels in ({"skill": "pour", "area": "household"}, {"skill": "", "area": ""}):
        take, log, owner = Take(), Log(), Owner()
        owner.feed(log.append(take.start(**labels), *take.chunks(), take.end()))
        assert [f["metric"] for f in owner.store.events[0]["findings"]] == []


def test_without_pyyaml_the_error_says_what_to_install():
    code = "import sys; sys.modules['yaml'] = None; from kinestream.schemas.skills import load_skills; load_skills()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode != 0
    assert "pip install 'kinestream[cli]'" in run.stderr.splitlines()[-1]
