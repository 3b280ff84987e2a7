"""The vocabulary of labels: 45 skills and 10 areas with stable, well-formed ids in two languages."""

import re
import subprocess
import sys

import pytest

from kinestream.schemas.skills import load_skills

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


def test_without_pyyaml_the_error_says_what_to_install():
    code = "import sys; sys.modules['yaml'] = None; from kinestream.schemas.skills import load_skills; load_skills()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode != 0
    assert "pip install 'kinestream[cli]'" in run.stderr.splitlines()[-1]
