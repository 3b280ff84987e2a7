"""The simulated floor before the real judge: clean takes are accepted; a fault is found where it is, nothing else."""

import numpy as np
import pytest

from kinestream.deploy.bench.trial import explains, frames_of, judge_of
from kinestream.producers.fleet.faults import SHOWN
from kinestream.producers.fleet.floor import MODELS, make_take
from kinestream.producers.fleet.motion import known_model
from kinestream.producers.fleet.take import Sensors
from kinestream.streams.quality import Delivery


def findings(model, take, rate):
    """Everything found at any moment, live after each chunk of ten frames and at the end; and the verdict."""
    judge, found = judge_of(model, rate), {}
    for first in range(0, len(take), 10):
        judge.advance(frames_of(take, first, first + 10))
        seen = min(first + 10, len(take))
        for finding in judge.live(Delivery(expected=seen, unique=seen)):
            found.setdefault((finding.metric, finding.joint), []).append((seen - 1, finding))
    final = judge.final(Delivery(expected=len(take), unique=len(take), status="COMPLETE"))
    for finding in final.findings:
        found.setdefault((finding.metric, finding.joint), []).append((len(take), finding))
    return found, final.verdict


def takes(model_id, name, rate, seeds=6):
    model = known_model(model_id)
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 77])
        seconds = rng.uniform(5.0 if name == "gap" else 4.0, 8.0)
        yield model, *make_take(rng, model, seconds, rate, name, Sensors.drawn(rng))


@pytest.mark.parametrize("rate", [50.0, 100.0, 200.0])
@pytest.mark.parametrize("model_id", MODELS)
def test_a_clean_take_is_accepted_and_nothing_is_ever_found_in_it(model_id, rate):
    for model, take, fault in takes(model_id, "", rate):
        assert fault is None
        assert findings(model, take, rate) == ({}, "ACCEPT")


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("model_id", MODELS)
def test_a_fault_is_found_at_its_decisive_frame_and_nothing_else_is(model_id, name):
    for model, take, fault in takes(model_id, name, 100.0):
        found, verdict = findings(model, take, 100.0)
        assert {key for key in found if not explains(fault, *key)} == set()
        lit = found[fault.metric, fault.joint]
        assert verdict == ("REVIEW" if name == "gap" else "REJECT")
        first_known, _ = lit[0]
        assert first_known <= fault.decisive_seq + 10  # with the chunk that holds it
        worst = max((finding for _, finding in lit), key=lambda finding: finding.flag == "FAIL")
        assert worst.first_seq in (fault.seq, fault.seq - 1)
