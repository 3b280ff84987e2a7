"""Which known names a name that is not known may have meant, the nearest first; never takes one for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

#: Share of letters in order from which on two names may be the same.
_ALIKE: Final = 0.75


def nearest(name: str, known: Iterable[str], most: int = 3, alike: float = _ALIKE) -> list[str]:
    """At most ``most`` of ``known``: those one part of which is ``name`` or begins with it, then those spelt alike.

    ``alike``: share of letters in order from which on they are, 0 to 1.
    """
    rated = [(_likeness(name.lower(), one.lower()), one) for one in known]
    near = sorted((pair for pair in rated if pair[0] >= alike), key=lambda pair: (-pair[0], len(pair[1]), pair[1]))
    return [one for _, one in near[:most]]


def _likeness(name: str, known: str) -> float:
    """1 = the same, 2 = it holds ``name`` as a whole part; below 1 the share of letters in order."""
    parts = re.split(r"[^a-z0-9]+", known)
    if name == known or name in parts:
        return 2.0
    if len(name) > 1 and any(part.startswith(name) for part in (known, *parts)):
        return 1.0 + len(name) / len(known)
    whole = SequenceMatcher(None, name, known).ratio()
    if re.search("[^a-z0-9]", name):
        return whole
    # a word misspelt is one of a longer name's: franca of franka-panda
    return max(whole, *(SequenceMatcher(None, name, part).ratio() for part in parts))
