"""One lamp a fault, not one a fetch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinestream.streams.quality import Delivery, EpisodeJudge, LampBook
from tests.unit.quality_samples import context, part, take


def findings(flag="SUSPECT", at=40):
    frames = take(100)
    frames.channels["velocity"][at, 2] = np.nan
    state = EpisodeJudge(context())
    state.advance(frames)
    return [replace(f, flag=flag) for f in state.live(Delivery(100, 100))]


def states(changes):
    return [state for state, _ in changes]


def test_a_finding_is_raised_once_however_often_it_is_seen():
    book = LampBook()
    assert states(book.diff(findings())) == ["RAISED"]
    assert book.diff(findings()) == []
    assert [f.joint for f in book.lit] == ["left_wrist"]


def test_it_is_updated_when_it_gets_worse_and_not_when_it_eases():
    book = LampBook()
    book.diff(findings())
    assert states(book.diff(findings("FAIL"))) == ["UPDATED"]
    assert book.diff(findings()) == []
    assert book.diff(findings("FAIL")) == []


def test_it_is_cleared_when_it_no_longer_holds_and_can_be_raised_again():
    book = LampBook()
    book.diff(findings())
    ((state, finding),) = book.diff([])
    assert (state, finding.joint) == ("CLEARED", "left_wrist")
    assert book.diff([]) == []
    assert states(book.diff(findings())) == ["RAISED"]


def test_an_earlier_first_frame_is_another_finding():
    book = LampBook()
    book.diff(findings(at=40))
    assert states(book.diff(findings(at=30))) == ["RAISED", "CLEARED"]


def test_a_book_opened_with_known_findings_does_not_raise_them_again():
    book = LampBook(findings())
    assert book.diff(findings()) == []
    assert states(book.diff([])) == ["CLEARED"]


def test_a_fault_seen_over_many_fetches_lights_one_lamp():
    frames = take()
    frames.channels["position"][105:300, 1] = np.nan
    state, book, told = EpisodeJudge(context()), LampBook(), []
    for begin in range(0, 400, 10):
        state.advance(part(frames, begin, begin + 10))
        told += book.diff(state.live(Delivery(begin + 10, begin + 10)))
    assert [(s, f.metric, f.joint, f.last_seq) for s, f in told] == [("RAISED", "I1", "left_elbow", 109)]
