"""Real teleoperation, clean by its makers' choice, is judged clean; a fault put into it is found."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.producers.recordings import open_recording
from kinestream.schemas.models import load_model
from kinestream.streams.quality import Context, Delivery, EpisodeJudge, Flag, Frames
from tests.unit.quality_samples import only, part, value

pytestmark = pytest.mark.recordings


@pytest.fixture(scope="module")
def episodes(recordings):
    return list(open_recording(recordings / "g1-inspire-lerobot-v21"))


def context_of(episode, **changes):
    limits = load_model(episode.model_id).limits(episode.joints)
    width = len(episode.joints)
    facts = {
        "episode_id": episode.source,
        "joints": tuple(episode.joints),
        "channels": (("position", width), ("command", width)),
        "lower": limits.lower,
        "upper": limits.upper,
        "velocity": limits.velocity,
        "model_known": True,
        "nominal_rate_hz": float(episode.nominal_rate_hz),
        "stamp_resolution_ns": episode.stamp_resolution_ns,
    }
    return Context(**{**facts, **changes})


def frames_of(episode):
    n = len(episode.t_ns)
    channels = {"position": episode.position.copy(), "command": episode.command}
    return Frames(np.arange(n, dtype=np.int64), episode.t_ns + 1_790_000_000 * 10**9, channels)


def judged(episode, frames):
    """The final judgement, and every finding that was lit on the way, seen in chunks of ten."""
    state, lit, n = EpisodeJudge(context_of(episode)), [], len(frames.seq)
    for begin in range(0, n, 10):
        state.advance(part(frames, begin, begin + 10))
        lit += state.live(Delivery(state.span.frames, state.span.frames))
    return state.final(Delivery(n, n, status="COMPLETE")), lit


def test_every_real_take_is_accepted_without_a_finding(episodes):
    assert len(episodes) == 60
    for episode in episodes:
        judgement, lit = judged(episode, frames_of(episode))
        assert (judgement.findings, judgement.verdict) == ((), "ACCEPT"), episode.source
        # one of them stands still for 13 % of its first 5 s, which is true and goes out later
        assert {f.metric for f in lit} <= {"E1"}, episode.source


def test_their_stamps_are_known_to_be_made_from_the_index(episodes):
    judgement, _ = judged(episodes[0], frames_of(episodes[0]))
    assert value(judgement, "T11").value == 1.0
    assert value(judgement, "T4").flag == Flag.NOT_EVALUATED


@pytest.mark.parametrize("fault", ["nan", "limit", "jump"])
def test_a_fault_in_every_real_take_is_found_on_its_joint_and_frame(episodes, fault):
    for number, episode in enumerate(episodes):
        frames, joint, at = frames_of(episode), number % len(episode.joints), 50 + number
        position, limits = frames.channels["position"], context_of(episode)
        if fault == "nan":
            position[at, joint] = np.nan
        elif fault == "limit":
            position[at:, joint] = np.float32(limits.upper[joint] + 0.05)
        else:
            position[at, joint] -= np.float32(2.2 * limits.velocity[joint] / 30)
        metric = {"nan": "I1", "limit": "I3", "jump": "I8"}[fault]
        judgement, lit = judged(episode, frames)
        finding = only(f for f in judgement.findings if f.metric == metric)
        assert (finding.joint, finding.first_seq, finding.flag) == (episode.joints[joint], at, "FAIL")
        assert finding.finding_id in {f.finding_id for f in lit}
        assert {f.joint for f in judgement.findings} == {episode.joints[joint]}
        assert judgement.verdict == "REJECT"
