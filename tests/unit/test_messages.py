"""Sentences in two languages: the same facts in both, joints told in words."""

from __future__ import annotations

from string import Formatter

import pytest

from kinestream.schemas.messages import load_messages, spoken
from kinestream.schemas.models import load_model, model_ids
from kinestream.schemas.rulebook import load_rules

SENTENCES = load_messages().sentences


def facts(template):
    return {name.removesuffix("_zh") for _, name, _, _ in Formatter().parse(template) if name}


@pytest.mark.parametrize("key", SENTENCES)
def test_both_languages_tell_the_same_facts(key):
    sentence = SENTENCES[key]
    assert facts(sentence.en) == facts(sentence.zh)
    assert not any("一" <= letter <= "鿿" for letter in sentence.en)
    assert any("一" <= letter <= "鿿" for letter in sentence.zh)
    assert {key.partition(".")[0]} <= {*load_rules().classes, "task", "LABEL_UNLISTED"}


@pytest.mark.parametrize(
    ("joint", "en", "zh"),
    [
        ("left_elbow_joint", "left elbow", "左肘"),
        ("kRightShoulderPitch", "right shoulder pitch", "右肩俯仰"),
        ("elbow_pitch_l_joint", "elbow pitch left", "肘俯仰左"),
        ("wrist_3_joint", "wrist 3", "腕3"),
        ("panda_joint4", "panda 4", "panda 4"),
        ("joint_18", "joint 18", "关节18"),
        ("", "", ""),
        ("关节一", "关节一", "关节一"),
    ],
)
def test_a_joint_is_told_in_words(joint, en, zh):
    assert (spoken(joint).en, spoken(joint).zh) == (en, zh)


@pytest.mark.parametrize("model_id", model_ids())
def test_no_two_joints_of_a_model_are_told_alike(model_id):
    joints = [joint.name for joint in load_model(model_id).joints]
    assert len({spoken(joint).en for joint in joints}) == len({spoken(joint).zh for joint in joints}) == len(joints)


def test_a_sentence_holds_its_facts():
    told = load_messages().say("I6", joint="left elbow", joint_zh="左肘", seconds=0.8)
    assert told.en == "left elbow has not moved for 0.8 s while commanded"
    assert told.zh == "左肘在有指令的情况下 0.8 秒没有移动"
