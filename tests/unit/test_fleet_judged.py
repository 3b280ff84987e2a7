"""The simulated floor before the real judge: clean takes are accepted; a fault is found where it is, nothing else."""

import numpy as np
import pytest

from kinestream.producers.fleet.faults import METRICS
from kinestream.producers.fleet.floor import MODELS, make_take
from kinestream.producers.fleet.motion import known_model
from kinestream.streams.quality import Context, Delivery, EpisodeJudge, Frames

CHANNELS = ("position", "velocity", "effort", "command")


def judge_of(model, rate):
    joints = len(model.joint_names)
    return EpisodeJudge(
        Context(
            episode_id="01890000-0000-7000-8000-000000000000",
            joints=model.joint_names,
            channels=tuple((name, joints) for name in CHANNELS),
            lower=model.lower,
            upper=model.upper,
            velocity=model.velocity,
            model_known=True,
            nominal_rate_hz=rate,
        )
    )


def findings(model, take, rate):
    """Everything found at any moment, live after each chunk of ten frames and at the end; and the verdict."""
    judge, found = judge_of(model, rate), {}
    for first in range(0, len(take), 10):
        part = slice(first, min(first + 10, len(take)))
        channels = {name: getattr(take, name)[part] for name in CHANNELS}
        judge.advance(Frames(np.arange(part.start, part.stop), take.t_ns[part] + 10**18, channels))
        for finding in judge.live(Delivery(expected=part.stop, unique=part.stop)):
            found.setdefault((finding.metric, finding.joint), []).append((part.stop - 1, finding))
    final = judge.final(Delivery(expected=len(take), unique=len(take), status="COMPLETE"))
    for finding in final.findings:
        found.setdefault((finding.metric, finding.joint), []).append((len(take), finding))
    return found, final.verdict


def takes(model_id, metric, rate):
    model = known_model(model_id)
    for seed in range(6):
        rng = np.random.default_rng([seed, 77])
        seconds = rng.uniform(5.0 if metric == "T4" else 4.0, 8.0)
        yield model, *make_take(rng, model, seconds, rate, metric)


@pytest.mark.parametrize("rate", [50.0, 100.0, 200.0])
@pytest.mark.parametrize("model_id", MODELS)
def test_a_clean_take_is_accepted_and_nothing_is_ever_found_in_it(model_id, rate):
    for model, take, fault in takes(model_id, "", rate):
        assert fault is None
        assert findings(model, take, rate) == ({}, "ACCEPT")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("model_id", MODELS)
def test_a_fault_is_found_at_its_decisive_frame_and_nothing_else_is(model_id, metric):
    for model, take, fault in takes(model_id, metric, 100.0):
        found, verdict = findings(model, take, 100.0)
        # a joint held beyond its limit for a while holds still: E1 may say so
        assert set(found) - {("E1", "")} == {(metric, fault.joint)}
        assert verdict == ("REVIEW" if metric == "T4" else "REJECT")
        first_known, _ = found[metric, fault.joint][0]
        assert first_known <= fault.decisive_seq + 10  # with the chunk that holds it
        worst = max((finding for _, finding in found[metric, fault.joint]), key=lambda finding: finding.flag == "FAIL")
        assert worst.first_seq in (fault.seq, fault.seq - 1)
