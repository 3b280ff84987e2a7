"""Which joints move together as an arm, and which are grippers: told by the words of their names, nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
#: parts of a body that are no arm
_BODY = {"hip", "knee", "ankle", "leg", "waist", "torso", "head", "neck", "toe", "wheel", "spine", "body", "chest"}
#: fingers with a name of their own: those of a hand
_FINGERS = {"thumb", "index", "middle", "ring", "pinky", "little"}
_GRIPPER = {"gripper", "finger", "fingers", "jaw", "claw"} | _FINGERS


@lru_cache(maxsize=10_000)
def _words(joint: str) -> frozenset[str]:
    return frozenset(part.lower() for part in _PARTS.findall(joint))


def grippers_of(names: Sequence[str]) -> tuple[int, ...]:
    """Columns of the joints or elements that a trigger opens and closes.

    The fingers of a hand are none: they follow a person's own, which turn back several times a second.
    """
    told = [_words(name) & _GRIPPER for name in names]
    if any(words & _FINGERS for words in told):
        told = [words - {"finger", "fingers"} for words in told]
    return tuple(column for column, words in enumerate(told) if words - _FINGERS)


def arms_of(joints: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Columns of each arm by ``left``, ``right`` or ``arm`` (no side named); body and gripper joints are in none.

    Where no joint is left (a robot of legs alone), all joints are one ``body``.
    """
    arms: dict[str, list[int]] = {}
    for column, joint in enumerate(joints):
        words = _words(joint)
        if words & _BODY or words & _GRIPPER:
            continue
        side = next((_SIDES[word] for word in ("left", "right", "l", "r") if word in words), "arm")
        arms.setdefault(side, []).append(column)
    if not arms:
        return {"body": tuple(range(len(joints)))} if joints else {}
    return {side: tuple(columns) for side, columns in sorted(arms.items())}
