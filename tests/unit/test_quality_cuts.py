"""Final equals batch: however a take is cut into fetches, and from whatever parts it is merged."""

from __future__ import annotations

import gc
import re
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.schemas.errors import ContractError
from kinestream.streams.quality import Delivery, EpisodeJudge
from kinestream.streams.quality.spells import Runs
from tests.unit.quality_samples import batch, context, judge, part, take, value, whole, without

PLACES = st.integers(0, 599)


@st.composite
def troubled_takes(draw):
    frames = take(600, seed=draw(st.integers(0, 99)), wobble_ns=draw(st.sampled_from([0, 50_000, 4_000_000])))
    position = frames.channels["position"]
    for place in draw(st.lists(PLACES, max_size=4)):
        position[place : place + draw(st.sampled_from([1, 2, 5, 40, 150])), draw(st.integers(0, 3))] = draw(
            st.sampled_from([np.nan, np.inf, 1.99, 2.003, -2.5, 40.0])
        )
    for place in draw(st.lists(PLACES, max_size=3)):
        frames.t_ns[place:] += draw(st.sampled_from([-20_000_000, 26_000_000, 400_000_000, 3_000_000_000]))
    for place in draw(st.lists(PLACES, max_size=3)):
        frames.channels[draw(st.sampled_from(["velocity", "hand"]))][place, 1] = np.nan
    return without(frames, draw(st.lists(PLACES, max_size=5)))


CUTS = st.lists(st.integers(1, 590), max_size=12, unique=True)


def rounded(finding):
    """Sums depend on the cuts in their last digits: nine of them count."""
    return replace(finding, value=float(f"{finding.value:.9g}"))


def same(one, other):
    assert one.verdict == other.verdict
    assert [rounded(f) for f in one.findings] == [rounded(f) for f in other.findings]
    same_rows(one.metrics, other.metrics)


def same_rows(some, others):
    for a, b in zip(some, others, strict=True):
        assert (a.id, a.joint, a.unit, a.flag) == (b.id, b.joint, b.unit, b.flag)
        assert a.value == pytest.approx(b.value, rel=1e-9, nan_ok=True)


#: What merges exactly: the contract's metrics, and those of ours that do so as well.
MERGING = {"T1", "T2", "T4", "T5", "T6", "T8", "T11", "I1", "I2", "I3", "I4", "I5", "I8", "I11", "C1", "K1"}
MERGING |= {"E1", "E2", "E3", "E6"}


def same_where_it_merges(merged, whole):
    rows = [[m for m in judgement.metrics if m.id.partition(".")[0] in MERGING] for judgement in (merged, whole)]
    same_rows(*rows)
    found = [[rounded(f) for f in judgement.findings if f.metric in MERGING] for judgement in (merged, whole)]
    assert found[0] == found[1]
    others = {m.flag for m in merged.metrics if m.id.partition(".")[0] not in MERGING}
    assert others == {"NOT_EVALUATED"}


@settings(max_examples=25, deadline=None)
@given(troubled_takes(), CUTS)
def test_the_cuts_of_the_fetches_change_nothing(frames, cuts):
    same(judge(frames, cuts).final(whole(frames)), judge(frames).final(whole(frames)))


@settings(max_examples=25, deadline=None)
@given(troubled_takes(), CUTS, st.sampled_from(["all", "no position", "no command", "no velocity"]))
def test_a_take_that_is_there_as_a_whole_is_judged_alike_in_larger_batches(frames, cuts, measured):
    absent = measured.removeprefix("no ")
    frames.channels = {name: values for name, values in frames.channels.items() if name != absent}
    known = context(channels=tuple(one for one in context().channels if one[0] != absent))
    at_once = EpisodeJudge(known)
    at_once.take_whole()
    at_once.advance(frames)
    assert at_once.final(whole(frames)) == judge(frames, cuts, known).final(whole(frames))


@settings(max_examples=25, deadline=None)
@given(troubled_takes(), CUTS, st.randoms(use_true_random=False))
def test_parts_merge_to_the_whole_in_any_grouping(frames, cuts, random):
    edges = [0, *sorted(cut for cut in cuts if cut < len(frames.seq)), len(frames.seq)]
    parts = [judge(part(frames, a, b)) for a, b in pairwise(edges)]
    while len(parts) > 1:
        place = random.randrange(len(parts) - 1)
        parts[place].merge(parts.pop(place + 1))
    if len(edges) > 2:
        same_where_it_merges(parts[0].final(whole(frames)), judge(frames).final(whole(frames)))


@settings(max_examples=25, deadline=None)
@given(troubled_takes(), CUTS)
def test_the_stream_agrees_with_the_formulas_over_the_whole_take(frames, cuts):
    judgement = judge(frames, cuts).final(whole(frames))
    for metric, expected in batch(frames, context()).items():
        row = value(judgement, metric)
        if row.flag != "NOT_EVALUATED" and not np.isnan(expected):
            assert row.value == pytest.approx(expected, rel=1e-9, abs=1e-12), metric


def test_a_merged_judge_goes_on_judging_the_frames_that_follow():
    frames = take()
    frames.channels["position"][149:152, 1] = 2.5
    first, second = judge(part(frames, 0, 150)), judge(part(frames, 150, 200))
    first.merge(second)
    first.advance(part(frames, 200, 400))
    same_where_it_merges(first.final(whole(frames)), judge(frames).final(whole(frames)))


def test_parts_out_of_order_or_of_two_episodes_do_not_merge():
    frames = take()
    early, late = judge(part(frames, 0, 200)), judge(part(frames, 200, 400))
    with pytest.raises(ContractError, match="in frame order"):
        late.merge(early)
    with pytest.raises(ContractError, match="another-take"):
        early.merge(judge(part(frames, 200, 400), known=context(episode_id="another-take")))


@pytest.mark.parametrize("shift_ns", [-10_000, 10_000])
def test_a_clock_step_at_the_cut_is_seen_by_the_merge(shift_ns):
    frames = take(wobble_ns=0)
    frames.t_ns[200:] += shift_ns
    first, second = judge(part(frames, 0, 200)), judge(part(frames, 200, 400))
    first.merge(second)
    assert value(first.final(whole(frames)), "T11").value == 0.0


@pytest.mark.parametrize("bits", range(128))
def test_runs_merge_exactly_at_every_cut_of_every_pattern(bits):
    mask = np.array([bits >> k & 1 for k in range(7)], np.bool_)
    seq = np.arange(7)

    def runs(begin, end):
        counted = Runs(2, 0)
        counted.add(mask[begin:end], seq[begin:end], seq[begin:end] * 10, True)
        return counted

    pattern = "".join(map(str, mask.astype(int)))
    expected = [m.span() for m in re.finditer("11+", pattern)]
    for cut in range(1, 7):
        for second in range(cut + 1, 8):
            merged = runs(0, cut)
            merged.merge(runs(cut, second))
            if second < 7:
                merged.merge(runs(second, 7))
            spell, total = merged.summary()
            assert spell.count == len(expected)
            assert total == sum((end - 1 - begin) * 10 for begin, end in expected)
            if expected:
                assert (spell.first_seq, spell.last_t) == (expected[0][0], (expected[-1][1] - 1) * 10)


def test_an_open_episode_takes_little_memory_while_it_is_looked_at():
    frames = take(1000)

    def watched():
        state = EpisodeJudge(context())
        for begin in range(0, 1000, 10):
            state.advance(part(frames, begin, begin + 10))
            state.live(Delivery(begin + 10, begin + 10))
        return state

    def held():
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        # What all judges share is made with the first, or again if tests before this one filled it: it is in neither.
        kept, before = [watched()], held()
        kept += [watched() for _ in range(4)]
        assert (held() - before) / 4 < 200_000
    finally:
        tracemalloc.stop()
