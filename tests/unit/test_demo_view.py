"""What a person sees of a demo: the fleet's report as it grows, rates, pace, and words that fit any terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kinestream.deploy.demo.display import PlainDisplay, panel
from kinestream.deploy.demo.measurement import Event, FindingSeen, Latency, Measurement
from kinestream.deploy.demo.published import Fault, Published, ReportReader
from kinestream.deploy.demo.summary import how_to_go_on, summary
from kinestream.deploy.demo.view import View, pace
from kinestream.deploy.demo.working import Rate
from kinestream.producers.fleet.faults import Fault as FleetFault
from kinestream.producers.fleet.floor import Floor
from kinestream.producers.fleet.pace import Pace
from kinestream.producers.fleet.report import Report

S = 1_000_000_000
FOUND = FindingSeen("f", "e", "sim-r-1", "I1", "elbow", "FAIL", "elbow: 3 values are not numbers", "RAISED", 1)
SEEN = View("robots at work", 6.0, 12_345, 2_001.4, 20, 31, 223_456.7, (FOUND,))
DONE = Measurement(
    *("test", "embedded", 2, 5, 5, 5, 5, 900, 900, 0, 0, 0, 0, 1, 1, 0),
    Latency(80.0, 120.0, 5),
    Latency(None, None, 0),
    31.2,
)


def ended(report: Report, episode: str, frames: int) -> None:
    report.episode_ended(
        episode_id=episode,
        robot_id="r",
        model_id="m",
        outcome="SUCCESS",
        frames=frames,
        content_hash="abc",
        end_sent_ns=9 * S,
        faults=[],
    )


def test_the_fleets_own_report_is_read_as_it_grows(tmp_path: Path) -> None:
    path, published = tmp_path / "fleet.jsonl", Published()
    reader = ReportReader(path)
    reader.read(published)  # there is no file yet
    with path.open("w") as out:
        report = Report(out)
        post = Floor(1, rate_hz=100.0, seed=1).posts[0]
        for number, episode in enumerate(("e1", "e2")):
            report.episode_started(episode, post, number=number, skill="grasp", area="home", begun_ns=6 * S)
        report.fault("e1", "r", FleetFault("nan", "elbow", 3, 4), 7 * S)
        reader.read(published)
        assert (published.open, published.frames) == (2, 0)
        assert published.takes["e1"].faults == [Fault("I1", "elbow", 7 * S)]
        ended(report, "e1", 500)
        kept = Pace().kept()
        report.summary(seed=1, robots=1, models=1, seconds=1, cpu_seconds=1, kept=kept, undelivered=["r: 2 messages"])
        reader.read(published)
    assert (published.open, published.frames, published.undelivered) == (1, 500, ["r: 2 messages"])
    take = published.takes["e1"]
    assert (take.ended, take.content_hash, take.end_sent_ns) == (True, "abc", 9 * S)


def test_half_a_line_is_left_for_the_next_look(tmp_path: Path) -> None:
    path, published = tmp_path / "fleet.jsonl", Published()
    reader = ReportReader(path)
    line = json.dumps({"event": "episode_started", "episode_id": "e", "robot_id": "r"}) + "\n"
    path.write_text(line[:20])
    reader.read(published)
    assert published.takes == {}
    path.write_text(line)
    reader.read(published)
    assert list(published.takes) == ["e"]


def test_the_rate_is_of_the_last_seconds_and_survives_a_new_worker() -> None:
    rate = Rate()
    assert rate.per_s() == 0
    for second in range(10):
        rate.add(second, 100 * second if second < 5 else 400 + 2000 * (second - 4))
    assert rate.per_s() == 2000
    rate.add(10, 50)
    assert rate.per_s() == 0
    rate.add(11, 350)
    assert rate.per_s() == 300


def test_the_pace_is_of_the_time_until_the_newest_event() -> None:
    events = [Event(str(k), f"{k}/1", b"", (10 + k) * S) for k in range(1, 5)]
    assert pace([], 10 * S) == 0
    assert pace(events, 10 * S) == 4 * 86_400 / 4
    assert pace([*events, events[0]], 10 * S) == 4 * 86_400 / 4


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_panel_shows_every_figure_and_stays_within_the_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    many = tuple(replace(FOUND, finding_id=str(k), robot_id=f"sim-a-very-long-robot-model-{k}") for k in range(20))
    with console.capture() as drawn:
        console.print(panel(replace(SEEN, findings=many), "Kinestream demo"))
    lines = drawn.get().splitlines()
    assert {len(line) for line in lines} == {width}
    for text in ("2,001", "12,345", "20", "31", "223,457", "50,000", "short takes", "robots at work"):
        assert text in drawn.get()


def test_the_panel_names_robot_joint_and_sentence() -> None:
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as drawn:
        console.print(panel(SEEN, "Kinestream demo"))
    (line,) = (line for line in drawn.get().splitlines() if "FAIL" in line)
    assert line.strip("│ ").split("  ")[0] == "FAIL"
    assert all(word in line for word in ("r-1", "elbow", "3 values are not numbers"))


def test_plain_lines_tell_each_finding_once_and_the_figures_every_few_seconds() -> None:
    out = io.StringIO()
    display = PlainDisplay(Console(file=out))
    for tenth in range(100):
        display.show(replace(SEEN, now_s=tenth / 10))
    lines = out.getvalue().splitlines()
    assert [line for line in lines if line.startswith("finding")] == [
        "finding: FAIL sim-r-1 elbow: 3 values are not numbers"
    ]
    assert len(lines) == 3
    assert "2,001 frames/s, 20 episodes open, 31 completed" in lines[1]


def test_the_summary_says_first_whether_all_arrived() -> None:
    whole = summary(DONE, [], 100_000)
    assert whole[0] == "Every episode was completed, stored and announced; not one frame is missing."
    assert any("not measured" in line for line in whole)
    torn = summary(DONE, ["1 episode was never announced: e of r"], 100_000)
    assert torn[0].startswith("NOT everything arrived")
    assert torn[1] == "  - 1 episode was never announced: e of r"


def test_how_to_go_on_names_what_stays_on_services_that_are_not_ours() -> None:
    ours = how_to_go_on("kinestream", Path(".kinestream/demo"), "demo-1", "e1", elsewhere=False)
    assert "  export KINESTREAM_HOME=.kinestream/demo" in ours
    assert "  kinestream frames e1 --out take.npz" in ours
    assert not any("motion.demo-1" in line for line in ours)
    theirs = how_to_go_on("kinestream", Path(".kinestream/demo"), "demo-1", "", elsewhere=True)
    assert "motion.demo-1.*" in theirs[-1]
    assert not any("frames" in line for line in theirs)
