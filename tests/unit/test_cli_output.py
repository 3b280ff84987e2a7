"""What ``--json`` prints is JSON, whatever was measured."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest

from kinestream.deploy.cli.output import emit_json


@dataclass
class Figure:
    name: str
    value: float


def test_what_is_no_number_is_printed_as_null_and_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"figures": [Figure("NaN", math.nan), Figure("抓", -math.inf)], "most": math.inf, "n": 0.1})
    out = capsys.readouterr().out
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["figures"] == [{"name": "NaN", "value": None}, {"name": "抓", "value": None}]
    assert (document["most"], document["n"], out.count("\n")) == (None, 0.1, 1)
