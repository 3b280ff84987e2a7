"""Judged again, and judged by a person: one revision where something changes, none where nothing does."""

from __future__ import annotations

import json
import uuid

import pytest

from kinestream.schemas.models import load_model
from kinestream.schemas.rulebook import load_rules
from tests.assembling import LIMITS, Log, Owner, Take
from tests.unit.test_assembly_commands import command as command_of
from tests.unit.test_assembly_commands import done, restart

MINUTE_LONG = {"shortest_s": 60.0}


def rules(scope="global", of="", name="strict", **thresholds):
    row = {"file": f"{name}.yaml", "scope": scope, "of": of, "name": name, "version": 1, "thresholds": thresholds}
    return json.dumps([row], sort_keys=True, separators=(",", ":"))


STRICT = rules(**MINUTE_LONG)


def command(take, kind, **fields):
    """Each with an id of its own."""
    return command_of(take, kind, **{"command_id": str(uuid.uuid4()), **fields})


def rescore(take, rules="", **fields):
    return command(take, "RESCORE", pins={"rules": rules} if rules else {}, **fields)


def review(take, verdict="ACCEPT", **fields):
    return command(take, "REVIEW", verdict=verdict, **fields)


def said(owner):
    return [(e["revision"], e["reason"], e["machine_verdict"], e["verdict"]) for e in owner.store.events]


def test_stricter_rules_make_a_revision_and_the_same_again_none():
    take, _, owner, commands = done()
    version = load_rules(take.model, "grasp", overlays=STRICT).version + f"/{load_model(take.model).version}"
    fields = {"rules": STRICT, "rule_version": version, "revision": 1}
    assert owner.command(*commands.append(rescore(take, **fields))) == []
    assert said(owner) == [(1, "CLOSED", "ACCEPT", "ACCEPT"), (2, "RESCORED", "REJECT", "REJECT")]
    first, second = owner.store.events
    assert second["rule_version"].startswith("kinestream-3+strict-1@")
    assert ([f["metric"] for f in first["findings"]], [f["metric"] for f in second["findings"]]) == ([], ["E6"])
    assert first["content_hash"] == second["content_hash"]
    owner.command(*commands.append(rescore(take, **{**fields, "revision": 2}), rescore(take, rules=STRICT)))
    assert len(owner.store.announced) == 2
    assert owner.assembler.episodes == {}


def test_rules_that_change_no_verdict_and_no_finding_make_no_revision():
    take, _, owner, commands = done()
    owner.command(*commands.append(rescore(take, rules=rules(stall_suspect_s=3.0))))
    assert len(owner.store.announced) == 1


def test_another_threshold_of_a_finding_that_holds_is_a_change():
    take, _, owner, commands = done()
    for seconds in (60.0, 70.0):
        owner.command(*commands.append(rescore(take, rules=rules(shortest_s=seconds))))
    assert [e["findings"][0]["threshold"] for e in owner.store.events[1:]] == [60.0, 70.0]


def test_rules_of_nobody_bring_back_those_of_the_worker():
    take, _, owner, commands = done()
    owner.command(*commands.append(rescore(take, rules=STRICT)))
    owner.command(*commands.append(rescore(take)))
    assert said(owner)[-1][1:] == ("RESCORED", "ACCEPT", "ACCEPT")
    assert owner.store.findings[-1].state == "CLEARED"


def test_late_frames_are_judged_by_the_rules_of_the_rescore():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 290), take.end()))
    owner.pass_ms(LIMITS.incomplete_ms)
    owner.command(*Log(now_ms=log.now_ms).append(rescore(take, rules=STRICT)))
    restart(owner, log)
    owner.feed(log.append(take.chunk(290, 300)))
    assert [(e["reason"], e["status"], e["verdict"]) for e in owner.store.events] == [
        ("CLOSED", "INCOMPLETE", "REJECT"),
        ("RESCORED", "INCOMPLETE", "REJECT"),
        ("LATE_FRAMES", "COMPLETE", "REJECT"),
    ]
    assert "strict-1" in owner.store.events[2]["rule_version"]


def test_a_command_that_was_meant_for_another_revision_does_nothing():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 290), take.end()))
    owner.pass_ms(LIMITS.incomplete_ms)
    commands = Log(now_ms=log.now_ms)
    # Judged by rules that change nothing: no revision, so nothing says that the command was carried out.
    harmless = commands.append(rescore(take, rules=rules(stall_suspect_s=3.0), revision=1))
    owner.command(*harmless)
    owner.feed(log.append(take.chunk(290, 300)))
    assert [e["reason"] for e in owner.store.events] == ["CLOSED", "LATE_FRAMES"]
    owner.crash()
    # The whole log of commands once more, and this time the rules would matter.
    (again,) = harmless
    again.value["pins"] = {"rules": STRICT}
    assert owner.command(again) == []
    assert len(owner.store.announced) == 2
    assert owner.assembler.command_watermark() == 1


@pytest.mark.parametrize("dies", ["journal", "outbox", "episode", "event"])
def test_a_worker_killed_while_it_rescores_makes_one_revision(dies):
    take, _, owner, commands = done()
    records = commands.append(rescore(take, rules=STRICT, revision=1))
    owner.dies_after = dies
    with pytest.raises(Exception, match=dies):
        owner.command(*records)
    owner.crash()
    owner.command(*records)
    owner.command(*records)
    assert {ce_id for ce_id, _ in owner.store.announced} == {f"{take.id}/1", f"{take.id}/2"}
    assert len(set(owner.store.announced)) == 2
    assert said(owner)[-1] == (2, "RESCORED", "REJECT", "REJECT")


def test_a_corrected_skill_is_judged_by_its_own_rules():
    owner, take, log = Owner(overlays=rules("skill", "pour", **MINUTE_LONG)), Take(), Log()
    owner.feed(log.append(*take.whole()))
    owner.command(*Log(now_ms=log.now_ms).append(command(take, "CORRECT", labels={"skill": "pour"})))
    assert said(owner) == [(1, "CLOSED", "ACCEPT", "ACCEPT"), (2, "CORRECTED", "REJECT", "REJECT")]
    assert "strict-1" in owner.store.events[1]["rule_version"]


def test_an_open_episode_is_judged_by_the_rules_of_its_corrected_skill_also_after_a_restart():
    owner, take, log = Owner(overlays=rules("skill", "pour", **MINUTE_LONG)), Take(), Log()
    owner.feed(log.append(take.start(), take.chunk(0, 200)))
    owner.command(*Log(now_ms=log.now_ms).append(command(take, "CORRECT", labels={"skill": "pour"})))
    owner.feed(log.append(take.chunk(200, 300), take.end()))
    assert owner.store.event()["verdict"] == "REJECT"


# -- a person's verdict -----------------------------------------------------------------------------------------------


def test_a_review_stands_beside_the_verdict_of_the_machine():
    take, _, owner, commands = done()
    owner.command(*commands.append(review(take, "REJECT", note="it dropped the cup", revision=1, command_id="c1")))
    assert said(owner)[1] == (2, "REVIEWED", "ACCEPT", "REJECT")
    told = owner.store.events[1]["review"]
    assert {**told, "reviewed_at_ms": 0} == {
        "verdict": "REJECT", "by": "p7", "note": "it dropped the cup", "command_id": "c1", "revision": 1,
        "reviewed_at_ms": 0,
    }  # fmt: skip
    assert told["reviewed_at_ms"] == commands.now_ms
    row = owner.store.episodes[take.id].closed
    names = ("verdict", "machine_verdict", "review_verdict", "reviewed_by", "review_note", "reviewed_revision")
    assert tuple(row[name] for name in names) == ("REJECT", "ACCEPT", "REJECT", "p7", "it dropped the cup", 1)
    assert owner.store.events[0]["review"] is None


def test_the_same_review_again_makes_no_revision_and_another_one_does():
    take, _, owner, commands = done()
    owner.command(*commands.append(review(take, revision=1)))
    owner.command(*commands.append(review(take, revision=2, command_id="c2")))
    assert len(owner.store.announced) == 2
    owner.command(*commands.append(review(take, "REJECT", by="p8")))
    assert said(owner)[2] == (3, "REVIEWED", "ACCEPT", "REJECT")
    owner.crash()
    owner.command(*commands.records)
    assert len(owner.store.announced) == 3


def test_late_frames_and_a_rescore_keep_the_review_and_say_what_it_was_of():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 290), take.end()))
    owner.pass_ms(LIMITS.incomplete_ms)
    commands = Log(now_ms=log.now_ms)
    owner.command(*commands.append(review(take, "ACCEPT", revision=1)))
    restart(owner, log)
    owner.feed(log.append(take.chunk(290, 300)))
    owner.command(*commands.append(rescore(take, rules=STRICT)))
    seen = [event["review"]["revision"] for event in owner.store.events[1:]]
    assert [(*row, revision) for row, revision in zip(said(owner)[1:], seen, strict=True)] == [
        (2, "REVIEWED", "REJECT", "ACCEPT", 1),
        (3, "LATE_FRAMES", "ACCEPT", "ACCEPT", 1),
        (4, "RESCORED", "REJECT", "ACCEPT", 1),
    ]


def test_a_review_may_set_labels_right_with_or_without_a_verdict():
    take, _, owner, commands = done()
    owner.command(*commands.append(review(take, "UNASSESSED", labels={"skill": "pour"})))
    event = owner.store.events[1]
    assert (event["reason"], event["skill"], event["verdict"], event["review"]) == ("REVIEWED", "pour", "ACCEPT", None)
    owner.command(*commands.append(review(take, "REJECT", labels={"skill": "place"})))
    owner.command(*commands.append(review(take, "UNASSESSED", labels={"area": "retail"}, by="p8")))
    event = owner.store.events[3]
    assert (event["skill"], event["area"], event["verdict"], event["review"]["by"]) == (
        "place", "retail", "REJECT", "p7",
    )  # fmt: skip


def test_a_quarantined_or_withdrawn_episode_keeps_no_review():
    take, _, owner, commands = done()
    owner.command(*commands.append(review(take, "ACCEPT")))
    owner.command(*commands.append(command(take, "WITHDRAW")))
    row = owner.store.episodes[take.id].closed
    assert (row["status"], row["verdict"], row["review_verdict"]) == ("WITHDRAWN", "REVIEW", "")


@pytest.mark.parametrize("hostile", ["[" * 100_000, rules(gap_long_s=1e300), rules(offset_rest_s=1e300)])
def test_rules_by_which_nothing_can_be_judged_are_refused_and_change_nothing(hostile):
    take, _, owner, commands = done()
    (letter,) = owner.command(*commands.append(rescore(take, rules=hostile)))
    assert letter.reason == "INCONSISTENT"
    assert len(owner.store.announced) == 1
    assert (owner.assembler.episodes, owner.assembler.command_watermark()) == ({}, 1)
