"""What a gateway answers to a line it cannot take: words of a robot's engineer, none of a programmer in Python."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kinestream.producers.ingest.gateway import Gateway
from tests.plugins.gateway import HELLO
from tests.plugins.ingest import START, say

PYTHON = re.compile(r"dtype|shape|float64|object of|ndarray|None|True|Robot|join=|=\)|, \)|'")
TEXTS = [
    ({"type": "frame", "position": [1, 1e99]}, "BAD_VALUE", ("position of b is 1e+99", "float32", "null")),
    (b'{"type": "frame", "position": [1e999, 0]}', "BAD_VALUE", ("position of a is Infinity", "float32")),
    (b'{"type": "frame", "position": [1, -1' + b"0" * 400 + b"]}", "BAD_VALUE", ("position of b is -1000",)),
    (
        {"type": "frames", "t": [1, 2], "position": [[0, None], [0, -3.5e38]]},
        "BAD_VALUE",
        ("position of b in frame 1 of the line is -3.5e+38",),
    ),
    (
        {"type": "frame", "channels": {"imu": [0, 4e38, 0]}, "position": [0, 0]},
        "BAD_VALUE",
        ("imu of ay is 4e+38",),
    ),
    (
        {"type": "frame", "positon": [1, 2]},
        "UNKNOWN_FIELD",
        ("positon is perhaps position", "allowed are type, seq, t"),
    ),
    ({"type": "frames", "time": [1], "position": [[1, 2]]}, "UNKNOWN_FIELD", ("unknown fields time", "t_ns")),
    ({"type": "start", "skil": "grasp"}, "UNKNOWN_FIELD", ("skil is perhaps skill", "operator")),
    ({"type": "end", "n_totel": 5}, "UNKNOWN_FIELD", ("n_totel is perhaps n_total",)),
    ({"type": "mark", "lable": "x"}, "UNKNOWN_FIELD", ("lable is perhaps label",)),
    ({"type": "ping", "t": 5}, "UNKNOWN_FIELD", ("unknown fields t; allowed are type",)),
    ({"type": "hello", "robot": "arm-7", "model_id": "m1"}, "UNKNOWN_FIELD", ("robot is perhaps robot_id",)),
    ({"type": "hello", "robot_id": "arm-7"}, "BAD_VALUE", ("model_id is missing",)),
    ({"type": "hello", "robot_id": "arm-7", "model_id": "m1"}, "LAYOUT", ("add joints", "kinestream robots list")),
    ({"type": "frame", "position": [1, 2, 3]}, "LAYOUT", ("position has 3 values", "declared 2 joints (a, b)")),
    ({"type": "frame", "position": [1]}, "LAYOUT", ("position has 1 value a frame", "2 joints (a, b)")),
    ({"type": "frame", "position": [1, "x"]}, "LAYOUT", ('position of b is "x"', "null where there is no value")),
    ({"type": "frame", "position": [1, True]}, "LAYOUT", ("position of b is true", "give a number")),
    ({"type": "frame", "position": 1.5}, "LAYOUT", ("position is 1.5", "one a joint")),
    ({"type": "frame", "position": []}, "LAYOUT", ("position=[]", "one a joint")),
    ({"type": "frame", "position": [[1, 2]]}, "LAYOUT", ("several frames have type frames",)),
    ({"type": "frames", "t": [1], "position": [1, 2]}, "LAYOUT", ("a single frame has type frame",)),
    (
        {"type": "frames", "t": [1, 2], "position": [[1, 2], [1]]},
        "LAYOUT",
        ("2 values in frame 0", "1 value in frame 1"),
    ),
    ({"type": "frames", "t": [1], "position": [[1, 2], [1, 2]]}, "BAD_VALUE", ("1 stamps for 2 frames",)),
    ({"type": "frames", "t": 1, "position": [[1, 2]]}, "BAD_VALUE", ("t: 1 for 1 frames", "one stamp a frame")),
    ({"type": "frames", "t": ["x"], "position": [[1, 2]]}, "BAD_VALUE", ('t=["x"]', "seconds since 1970")),
    ({"type": "frame", "t": 1e300, "position": [1, 2]}, "BAD_VALUE", ("t=1e+300", "seconds since 1970")),
    ({"type": "frame", "position": [1, 2], "channels": {"gyro": [1]}}, "LAYOUT", ("gyro is not declared", "imu")),
    (
        {"type": "frame", "position": [1, 2], "velocity": [1, 2]},
        "LAYOUT",
        ("velocity is new", "first frame had (position)"),
    ),
    ({"type": "frame", "channels": {"imu": [1, 2, 3]}}, "LAYOUT", ("position is missing and imu is new",)),
]


@pytest.mark.parametrize(("line", "why", "says"), TEXTS)
def test_what_is_wrong_is_said_in_words_of_the_robot(gateway: Gateway, line: Any, why: str, says: tuple[str, ...]):
    session = gateway.session()
    say(session, {**HELLO, "channels": {"imu": ["ax", "ay", "az"]}}, START)
    whole = line.get("channels", {}).keys() == {"imu"} if isinstance(line, dict) and why == "BAD_VALUE" else False
    say(session, {"type": "frame", "position": [0, 0], **({"channels": {"imu": [0, 0, 0]}} if whole else {})})
    (refused,) = say(session, line)
    assert refused["reason"] == why, refused
    for words in says:
        assert words in refused["text"]
    assert not PYTHON.search(refused["text"]), refused["text"]
    with gateway.seat("arm-7") as seat:
        assert seat.taken == 1, "the line changed nothing"
