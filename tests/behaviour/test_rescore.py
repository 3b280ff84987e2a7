"""Judged again, and reviewed by a person: from the command line over the worker into the store and its event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinestream.schemas.catalogue import FRAMES_DLQ
from tests.assembling import Take
from tests.behaviour.test_commands import events, kinestream
from tests.plugins.worker import Pipeline
from tests.reading import read_topic
from tests.sending import RawSender

ROW = "SELECT revision, reason, machine_verdict, verdict, status FROM episodes FINAL WHERE episode_id = {id:String}"
STRICT = "name: strict\nversion: 4\nskill: grasp\nthresholds:\n  shortest_s: 60\n"


def row_of(pipeline: Pipeline, take: Take) -> tuple[Any, ...]:
    rows = pipeline.query(ROW, id=take.id)
    return tuple(rows[0]) if rows else ()


def told(pipeline: Pipeline, *arguments: str) -> Any:
    done = kinestream(pipeline, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_stored_episodes_are_judged_again_once_and_a_review_stands(pipeline: Pipeline, tmp_path: Path) -> None:
    # Nothing is ever on record as read: a worker that was killed begins with all frames and all commands again.
    pipeline.extra = {"KINESTREAM_COMMIT_INTERVAL_S": "100000000", "KINESTREAM_INCOMPLETE_AFTER_S": "0.5"}
    pipeline.start()
    rules = tmp_path / "strict.yaml"
    rules.write_text(STRICT, encoding="utf-8")
    # Of different lengths: none repeats another.
    take, other, torn = Take(), Take(360, no=2), Take(420, no=3)
    sender = RawSender(pipeline.broker)
    sender.send(*take.whole(), other.start(skill="pour"), *other.chunks(), other.end())
    sender.send(torn.start(skill="pour"), torn.chunk(0, 410), torn.end())
    for one in (take, other, torn):
        pipeline.wait_for(lambda one=one: row_of(pipeline, one))
    judged_again_once(pipeline, rules, take)
    pipeline.kill()
    pipeline.start()
    # Behind the rescore, which is read again: carried out again it would be a further revision.
    reviewed_and_judged_again(pipeline, take)
    reviewed_and_then_whole(pipeline, sender, torn)
    announced(pipeline, take, torn)
    shown(pipeline, take, torn)


def judged_again_once(pipeline: Pipeline, rules: Path, take: Take) -> None:
    """A dry run changes nothing, a run what it said, a second run nothing."""
    found = told(pipeline, "rescore", "--rules", str(rules), "--dry-run")
    assert (found["episodes"], found["changed"], found["written"]) == (3, 1, 0)
    (change,) = found["changes"]
    assert (change["episode_id"], change["machine_verdict"]) == (take.id, {"before": "ACCEPT", "after": "REJECT"})
    assert [(f["before"], f["after"]["metric"], f["after"]["threshold"]) for f in change["findings"]] == [
        (None, "E6", 60.0)
    ]
    assert row_of(pipeline, take)[0] == 1

    done = kinestream(pipeline, "rescore", "--rules", str(rules), "--skill", "grasp", "--by", "p7")
    assert done.exit_code == 0, done.output
    for words in ("ACCEPT -> REJECT  revision 2", "+ FAIL E6: ", "(threshold 60, ours)", "1 revisions written"):
        assert words in done.stdout
    assert row_of(pipeline, take) == (2, "RESCORED", "REJECT", "REJECT", "COMPLETE")
    found = told(pipeline, "rescore", "--rules", str(rules))
    assert (found["episodes"], found["changed"], found["changes"]) == (3, 0, [])


def reviewed_and_judged_again(pipeline: Pipeline, take: Take) -> None:
    """A person's verdict stands beside the machine's, which may change."""
    after = told(pipeline, "review", take.id, "--accept", "--by", "p7", "--note", "short and good")
    assert (after["revision"], after["verdict"], after["machine_verdict"]) == (3, "ACCEPT", "REJECT")
    assert row_of(pipeline, take) == (3, "REVIEWED", "REJECT", "ACCEPT", "COMPLETE")
    assert told(pipeline, "rescore", "--episode", take.id)["written"] == 1  # back to the rules of the worker
    assert row_of(pipeline, take) == (4, "RESCORED", "ACCEPT", "ACCEPT", "COMPLETE")


def reviewed_and_then_whole(pipeline: Pipeline, sender: RawSender, torn: Take) -> None:
    """Frames that come after a review change the machine's verdict alone."""
    told(pipeline, "review", torn.id, "--reject", "--relabel", "skill=place", "--by", "p7")
    assert row_of(pipeline, torn) == (2, "REVIEWED", "REJECT", "REJECT", "INCOMPLETE")
    sender.send(torn.chunk(410, 420))
    pipeline.wait_for(lambda: row_of(pipeline, torn) == (3, "LATE_FRAMES", "ACCEPT", "REJECT", "COMPLETE"))


def announced(pipeline: Pipeline, take: Take, torn: Take) -> None:
    """Each revision once, with both verdicts; no record of it all is a dead letter."""
    said = events(pipeline)
    assert len(said) == 4 + 1 + 3
    for episode, revision, verdict, machine, reviewed in (
        (take, 2, "REJECT", "REJECT", None),
        (take, 4, "ACCEPT", "ACCEPT", 2),
        (torn, 3, "REJECT", "ACCEPT", 1),
    ):
        event = said[f"{episode.id}/{revision}"][1]
        assert (event["verdict"], event["machine_verdict"]) == (verdict, machine)
        assert (event["review"] and event["review"]["revision"]) == reviewed
    assert read_topic(pipeline, FRAMES_DLQ) == []


def shown(pipeline: Pipeline, take: Take, torn: Take) -> None:
    """What a person and a subscriber see."""
    assert "REJECT by p7" in kinestream(pipeline, "episodes").stdout
    one = told(pipeline, "episode", take.id)
    assert (one["review_verdict"], one["review_note"], one["reviewed_revision"]) == ("ACCEPT", "short and good", 2)
    ids = kinestream(pipeline, "subscribe", "--from-start", "--until-end", "--verdict", "REJECT", "--json").stdout
    found = {(e["episode_id"], e["revision"]) for e in map(json.loads, ids.splitlines())}
    assert found == {(take.id, 2), (torn.id, 3)}


def test_what_cannot_be_judged_or_reviewed_is_said_in_one_line(test_pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline = test_pipeline
    pipeline.start()
    take, later = Take(), Take(seed=1, no=2)
    RawSender(pipeline.broker).send(*take.whole(), later.start(), later.chunk(0, 10))
    pipeline.wait_for(lambda: row_of(pipeline, take))
    in_flight = "SELECT 1 FROM journal FINAL WHERE episode_id = {id:String}"
    pipeline.wait_for(lambda: pipeline.query(in_flight, id=later.id))
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nversion: 1\nthresholds:\n  loss_fial: 1\n", encoding="utf-8")
    for said, arguments in {
        "broken.yaml, line 4: there is no threshold 'loss_fial'; near it: loss_fail": (
            "rescore", "--rules", str(broken),
        ),
        "nowhere.yaml cannot be read": ("rescore", "--rules", "nowhere.yaml"),
        "no closed episode 'nobody'": ("rescore", "--episode", "nobody"),
        "--episode names them": ("rescore", "--episode", take.id, "--since", "2h"),
        "no episode 'nobody' in the store": ("review", "nobody", "--accept", "--by", "p7"),
        "contradict each other": ("review", take.id, "--accept", "--reject", "--by", "p7"),
        "a review says nothing": ("review", take.id, "--by", "p7"),
        "skill 'pourr' is not in skills.yaml; near it: pour": (
            "review", take.id, "--relabel", "skill=pourr", "--by", "p7",
        ),
        "--by is empty": ("review", take.id, "--accept", "--by", ""),
        "still being recorded": ("review", later.id, "--accept", "--by", "p7"),
    }.items():  # fmt: skip
        done = kinestream(pipeline, *arguments)
        assert (done.exit_code, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.output
    # Workers that judge by other rules than the command line refuse what is meant otherwise.
    rules = tmp_path / "strict.yaml"
    rules.write_text(STRICT, encoding="utf-8")
    pipeline.extra = {"KINESTREAM_RULES": str(rules)}
    found = told(pipeline, "rescore", "--dry-run")
    assert (found["changed"], found["changes"][0]["rule_version"]["after"][:21]) == (1, "kinestream-3+strict-4")
