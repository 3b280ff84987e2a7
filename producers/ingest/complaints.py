"""What is wrong with the values of a line, in words for whoever wired the robot; it changes and keeps nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from kinestream.schemas.errors import IngestError
from kinestream.schemas.layout import JOINT_CHANNELS, Channel

#: Names of a channel's elements, for texts; empty where nobody gave any.
Names = Callable[[str], Sequence[str]]
#: Names that a text lists at most, and characters of a value.
_LISTED: Final = 12
_SHOWN: Final = 60
_NULL: Final = "null where there is no value"


def short(value: Any) -> str:
    """A value as a text may show it, in JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def listed(names: Sequence[str]) -> str:
    """Names, the first of many."""
    some = ", ".join(names[:_LISTED])
    return some if len(names) <= _LISTED else f"{some} and {len(names) - _LISTED} more"


def not_numbers(name: str, value: Any, many: bool, names: Names) -> IngestError:
    """Why a channel's values are no list of numbers a frame."""
    one = f"one a {_what(name)}, {_NULL}"
    shape = f"one list of numbers a frame ({one})" if many else f"a list of numbers ({one})"
    rows = value if many else [value]
    if not isinstance(rows, list):
        return IngestError("LAYOUT", f"{name}={short(value)}: frames need {shape}; a single frame has type frame")
    for k, row in enumerate(rows):
        if not isinstance(row, list):
            hint = "; a single frame has type frame" if many else ""
            return IngestError("LAYOUT", f"{name}{_of(many, k)} is {short(row)}: give {shape}{hint}")
        for i, one_value in enumerate(row):
            if isinstance(one_value, list):
                hint = f": a frame has {shape}; several frames have type frames" if not many else f": give {shape}"
                return IngestError("LAYOUT", f"{name}{_of(many, k)} holds the list {short(one_value)}{hint}")
            if one_value is not None and type(one_value) not in (int, float):
                where = _element(name, i, names) + _of(many, k)
                return IngestError("LAYOUT", f"{where} is {short(one_value)}: give a number, {_NULL}")
    k = next((k for k, row in enumerate(rows) if len(row) != len(rows[0])), -1)
    if k < 0:
        return IngestError("LAYOUT", f"{name}={short(value)}: give {shape}")
    return IngestError(
        "LAYOUT", f"{name} has {_count(rows[0])} in frame 0 of the line and {_count(rows[k])} in frame {k}: give {one}"
    )


def too_large(name: str, value: Any, many: bool, names: Names) -> IngestError:
    """Which value no float32 holds."""
    for k, row in enumerate(value if many else [value]):
        for i, one in enumerate(row):
            if one is not None and not _fits(one):
                return IngestError(
                    "BAD_VALUE",
                    f"{_element(name, i, names)}{_of(many, k)} is {short(one)}, more than a float32 holds (3.4e38):"
                    f" look at its unit and its sensor, and send {_NULL}",
                )
    return IngestError("BAD_VALUE", f"{name} holds a number that no float32 holds: send {_NULL}")


def check_layout(
    given: Mapping[str, int], declared: Mapping[str, Channel], measured: Sequence[str], names: Names
) -> None:
    """Hold ``given`` (values a frame, by channel) against hello and the take's first frame; raises IngestError.

    ``measured``: the channels of the take, none before its first frame.
    """
    for name, width in given.items():
        channel = declared.get(name)
        if channel is None:
            raise IngestError("LAYOUT", _undeclared(name, declared))
        if channel.width != width:
            elements = f" ({listed(names(name))})" if names(name) else ""
            raise IngestError(
                "LAYOUT",
                f"{name} has {width} {'value' if width == 1 else 'values'} a frame, hello declared {channel.width}"
                f" {_what(name)}s{elements}: send one each, in that order, {_NULL}",
            )
    if measured and set(given) != set(measured):
        lacks, more = [n for n in measured if n not in given], [n for n in given if n not in measured]
        differs = [f"{listed(lacks)} is missing"] * bool(lacks) + [f"{listed(more)} is new"] * bool(more)
        raise IngestError(
            "LAYOUT",
            f"{' and '.join(differs)}: a take measures what its first frame had ({listed(measured)}); send the same"
            f" every time, {_NULL}, or end this take and start another",
        )


def _undeclared(name: str, declared: Mapping[str, Channel]) -> str:
    if name in JOINT_CHANNELS:
        return f"{name}: hello declared no joints, so there is none: declare joints, or send channels"
    further = [one for one in declared if one not in JOINT_CHANNELS]
    known = f"hello declared {listed(further)}" if further else "hello declared no channels"
    return f"channel {name} is not declared ({known}): say hello with it in channels, or leave it out"


def _element(name: str, i: int, names: Names) -> str:
    known = names(name)
    return f"{name} of {known[i]}" if i < len(known) else f"{name}, value {i},"


def _of(many: bool, k: int) -> str:
    return f" in frame {k} of the line" if many else ""


def _what(name: str) -> str:
    return "joint" if name in JOINT_CHANNELS else "element"


def _count(row: Sequence[Any]) -> str:
    return f"{len(row)} {'value' if len(row) == 1 else 'values'}"


def _fits(value: float) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(float(value))))
    except OverflowError:
        return False
