"""Pictures of findings: the joint concerned, the span marked, the same shapes on page, picture and terminal."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from kinestream.deploy.judging import png, svg
from kinestream.deploy.judging.judged import judge_recorded
from kinestream.deploy.judging.page import page
from kinestream.deploy.judging.report import FilesReport, Unreadable, report_of
from kinestream.deploy.judging.scene import Path, Rect, panel
from kinestream.deploy.judging.signals import PANELS, Recorded, traces_of
from kinestream.deploy.judging.sketch import TALL, WIDE, sketch
from kinestream.deploy.judging.traces import envelope
from kinestream.producers.recordings import RecordedEpisode
from kinestream.schemas.models import load_model
from tests.unit.quality_samples import only

MODEL = load_model("unitree-g1-29-dof")
JOINTS = MODEL.joint_names[15:19]


def recorded(n=600):
    """Slow sines of four arm joints at 50 Hz; from 6 s to 8 s the second is beyond its limit."""
    t = np.arange(n) / 50
    wobble_ns = np.random.default_rng(1).integers(-200_000, 200_000, n)
    middle = (MODEL.limits(JOINTS).lower + MODEL.limits(JOINTS).upper) / 2
    position = (middle + 0.2 * np.sin(0.8 * t[:, None] + np.arange(4))).astype(np.float32)
    position[300:400, 1] = MODEL.limits(JOINTS).upper[1] + 0.1
    t_ns = np.rint(t * 1e9).astype(np.int64) + wobble_ns
    return RecordedEpisode("take <1>", MODEL.model_id, JOINTS, (), 50.0, t_ns, 1, False, position)


@pytest.fixture(scope="module")
def report():
    return report_of("take.npz", judge_recorded(recorded()), True)


def of_limit(report):
    return only(trace for trace in report.traces if any(mark.metric == "I3" for mark in trace.marks))


def test_a_panel_shows_the_joint_of_its_finding_with_limits_and_span(report):
    trace = of_limit(report)
    assert (trace.title, trace.unit) == ("left shoulder roll", "rad")
    assert trace.limits == pytest.approx([MODEL.limits(JOINTS).lower[1], MODEL.limits(JOINTS).upper[1]])
    mark = only(mark for mark in trace.marks if mark.metric == "I3")
    assert (mark.flag, round(mark.begins_s, 1), round(mark.ends_s, 1)) == ("FAIL", 6.0, 8.0)
    low, high = trace.reach()
    assert low < trace.lines[0].low.min()
    assert high > trace.limits[1]


def test_the_span_lies_where_the_finding_does(report):
    trace = of_limit(report)
    shapes = list(panel(trace))
    spans = [s for s in shapes if isinstance(s, Rect) and s.h > 100]
    line = max((s for s in shapes if isinstance(s, Path) and not s.dashed), key=lambda s: len(s.points))
    beyond = [x for x, y in line.points if y == min(y for _, y in line.points)]
    assert any(abs(s.x - beyond[0]) < 5 and abs(s.x + s.w - beyond[-1]) < 5 for s in spans)


def test_one_bad_frame_is_wide_enough_to_be_seen():
    episode = recorded()
    episode.position[300:400, 1] = episode.position[299, 1]
    episode.position[200, 0] = np.nan
    traces = report_of("x", judge_recorded(episode), True).traces
    trace = only(t for t in traces if any(mark.metric == "I1" for mark in t.marks))
    span = only(s for s in panel(trace) if isinstance(s, Rect) and s.h > 100 and s.w < 10)
    assert span.w >= 3


def test_an_envelope_keeps_every_extreme_of_a_long_take():
    rng = np.random.default_rng(2)
    values = rng.normal(size=100_000)
    values[77_777] = 50.0
    line = envelope("position", np.arange(100_000) / 100, values, 600)
    assert len(line.t) <= 600
    assert (line.high.max(), line.low.min()) == (50.0, values.min())


def test_a_gap_and_a_nan_part_the_line():
    t = np.concatenate((np.arange(100), np.arange(200, 300))) / 50
    values = np.zeros(200)
    values[50] = np.nan
    line = envelope("position", t, values)
    assert np.isnan(line.high).sum() == 2


def test_a_picture_has_so_many_panels_at_most():
    episode = recorded()
    found = judge_recorded(episode).findings[0]
    joints = tuple(f"joint_{k}" for k in range(20))
    wide = Recorded(episode.t_ns, joints, {"position": np.zeros((600, 20), np.float32)})
    findings = [replace(found, joint=joint, metric="I6") for joint in joints]
    assert len(traces_of(wide, findings)) == PANELS


@pytest.mark.parametrize("frames", [1, 600])
def test_one_frame_and_a_joint_without_a_value_are_not_drawn(frames):
    episode = recorded(frames)
    episode.position[:, 0] = np.nan
    report = report_of("x", judge_recorded(episode), True)
    assert "I1" in {finding.metric for finding in report.findings}
    assert "left shoulder pitch" not in {trace.title for trace in report.traces}
    assert page(FilesReport([report]), "x").count("<svg") == len(report.traces)


def test_the_picture_is_sound_svg_with_its_words(report):
    drawn = svg.picture(report.traces, report.source)
    texts = [e.text for e in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert "take <1>" in texts
    assert "left shoulder roll" in texts
    assert "I3 FAIL" in texts
    assert "nan" not in drawn


def test_the_same_picture_is_a_png_of_its_size_with_the_marks_in_it(report):
    image = Image.open(BytesIO(png.picture(report.traces, report.source)))
    height = 40 + 170 * len(report.traces)
    assert image.size == (1800, 2 * height)
    colors = {color for _, color in image.getcolors(1 << 24)}
    assert (37, 99, 235) in colors, "the line"
    assert any(r > 200 and g < 225 and b < 225 for r, g, b in colors), "the span"


def test_a_sketch_fits_a_terminal_and_rules_the_span(report):
    lines = list(sketch(of_limit(report)))
    assert lines[0] == "left shoulder roll: position, rad"
    assert len(lines) == TALL + 3
    assert max(map(len, lines)) <= 10 + WIDE
    ruler = lines[-2][10:]
    assert 0.45 < ruler.index("━") / WIDE < 0.55
    assert 0.6 < len(ruler) / WIDE < 0.7


class Outside(HTMLParser):
    """Every address an HTML page would fetch, and its tags in balance."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset")] + (tag == "script") * [
            tag
        ]
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_needs_nothing_from_elsewhere_and_says_all_in_both_languages(report):
    whole = FilesReport([report], [Unreadable("b.mcap", "b.mcap is cut <short>")], ["a note"])
    written = page(whole, "takes & more")
    parser = Outside()
    parser.feed(written)
    assert (parser.fetched, parser.open) == ([], [])
    assert "url(" not in written
    finding = report.findings[0]
    assert finding.message in written
    assert finding.message_zh in written
    for text in ("take &lt;1&gt;", "cut &lt;short&gt;", "takes &amp; more", "a note", "拒绝"):
        assert text in written
    assert len(re.findall("<svg", written)) == len(report.traces)
