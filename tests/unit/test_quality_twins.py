"""D1 and D2: a take that was recorded before is found among many, and only then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.streams.quality import BUILTIN, EpisodeJudge, Flag, Print, Shelf, Twins, twins_of
from kinestream.streams.quality.duplicates import STEPS, Signature
from kinestream.streams.quality.twins import BANDS, SHARED, exact_key, near_keys, sought_keys
from tests.unit.quality_samples import context, only, take, value, whole


def signature(seed: int, joints: int = 14) -> np.ndarray:
    """A smooth motion: three slow waves a joint, from its first pose."""
    rng, x = np.random.default_rng(seed), np.linspace(0, np.pi, STEPS)
    waves = sum(rng.normal(0, 1 / k, (joints, 1)) * (1 - np.cos(k * x)) for k in (1, 2, 3))
    return waves.reshape(-1) / np.linalg.norm(waves)


def printed(shape: np.ndarray, no: int, seconds: float = 10.0, **changes: object) -> Print:
    return replace(Print("hub", (no, f"e{no}"), f"digest {no}", Signature(shape, seconds)), **changes)


def turned(shape: np.ndarray, cosine: float, seed: int) -> np.ndarray:
    """Another of length 1 at just this cosine."""
    away = np.random.default_rng(seed).normal(size=shape.size)
    away -= (away @ shape) * shape
    return cosine * shape + np.sqrt(1 - cosine**2) * away / np.linalg.norm(away)


def test_d1_and_d2_at_their_thresholds() -> None:
    one = printed(signature(1), 1)
    same = printed(signature(2), 2, digest=one.digest)
    assert twins_of(same, [one], BUILTIN).exact == "e1"
    for cosine, seconds, near in ((0.9951, 10.0, "e1"), (0.9949, 10.0, ""), (1.0, 9.51, "e1"), (1.0, 9.49, "")):
        other = printed(turned(one.signature.shape, cosine, 3), 3, seconds)
        assert twins_of(other, [one], BUILTIN).near == near, (cosine, seconds)


def test_only_earlier_takes_count_and_the_earliest_and_the_nearest_are_named() -> None:
    shape = signature(1)
    takes = [printed(turned(shape, c, 1), no, digest="d") for no, c in ((2, 0.996), (3, 0.999), (5, 1.0))]
    asked = printed(shape, 4, digest="d")
    assert twins_of(asked, [*takes, asked], BUILTIN) == Twins("e2", "e3", pytest.approx(0.999))
    assert twins_of(printed(shape, 1, digest="d"), takes, BUILTIN) == Twins()
    assert twins_of(replace(asked, tenant="other"), takes, BUILTIN) == Twins(), "no maker hears of another's takes"


def test_of_takes_that_move_alike_nearly_all_share_bands_and_of_others_hardly_any() -> None:
    def met(cosine: float, runs: int) -> float:
        shared = 0
        for seed in range(runs):
            shape = signature(seed)
            sought = set(sought_keys(printed(turned(shape, cosine, seed), 2, 10.4)))
            shared += len(sought & set(near_keys(printed(shape, 1)))) >= SHARED
        return shared / runs

    assert met(0.995, 300) > 0.96
    assert met(0.9995, 100) == 1.0
    assert met(0.9, 100) < 0.05


def test_lengths_that_may_still_be_alike_are_always_looked_for() -> None:
    shape = signature(1)
    for seconds in np.geomspace(0.5, 100, 60):
        for ratio in (0.95, 1.0, 1 / 0.95):
            keys = set(sought_keys(printed(shape, 2, seconds)))
            assert len(keys & set(near_keys(printed(shape, 1, seconds * ratio)))) == BANDS


def test_keys_are_the_same_for_ever() -> None:
    take = printed(np.cos(np.arange(2 * STEPS)) / 6, 1, digest="00ff")
    assert exact_key(take) == 0x8F55961039F0EC10
    assert near_keys(take)[:2] == [0x4C1A010F3D2FC989, 0xE48D6736E85AF917]


def test_a_shelf_finds_what_a_look_at_every_take_finds() -> None:
    shelf, takes = Shelf(), []
    for no in range(200):
        shape = signature(no % 40) if no % 5 else turned(signature(no // 8), 0.999, no)
        takes.append(printed(shape, no, digest=f"d{no % 150}"))
        assert twins_of(takes[-1], shelf.like(takes[-1]), BUILTIN) == twins_of(takes[-1], takes[:-1], BUILTIN)
        shelf.add(takes[-1])


def test_the_finding_names_the_other_take_and_decides_the_verdict() -> None:
    frames = take(400)
    judge = EpisodeJudge(context())
    judge.advance(frames)
    for twins, metric, flag, verdict in (
        (Twins("other", "other", 1.0), "D1", "FAIL", "REJECT"),
        (Twins("", "other", 0.997), "D2", "SUSPECT", "REVIEW"),
    ):
        judgement = judge.final(whole(frames), twins)
        finding = only(judgement.findings)
        assert (finding.metric, finding.flag, judgement.verdict) == (metric, flag, verdict)
        assert "other" in finding.message
        assert "other" in finding.message_zh
    assert judge.final(whole(frames), Twins()).verdict == "ACCEPT"
    nobody_looked = judge.final(whole(frames))
    assert {value(nobody_looked, metric).flag for metric in ("D1", "D2")} == {Flag.NOT_EVALUATED}


def test_a_take_in_which_nothing_moved_has_no_signature() -> None:
    frames = take(400)
    frames.channels["position"][:] = 0.5
    judge = EpisodeJudge(context())
    judge.advance(frames)
    assert judge.signature is None
