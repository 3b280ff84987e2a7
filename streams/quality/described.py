"""What follows from a robot's description alone, made once for all its takes. Values nobody writes to; no state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from kinestream.streams.quality.model import Context
from kinestream.streams.quality.rules import Rules

Made = TypeVar("Made")
#: of a context, what such values may be made of
_DESCRIBED: Final = ("joints", "channels", "lower", "upper", "velocity", "effort", "prismatic", "continuous",
                     "rests_on_stop", "element_names", "model_joints", "declared", "channel_units")  # fmt: skip
#: Robots remembered; more than that take turns.
_MOST: Final = 256
#: by the ids of what they are made of: those objects, which must live as long as their ids stand here, and the values
_shelves: dict[tuple[Any, ...], tuple[Any, dict[Any, Any]]] = {}


def described(make: Callable[[Context, Rules], Made], context: Context, rules: Rules) -> Made:
    """``make(context, rules)``, once for contexts that hold the same objects, as those of a robot's takes do."""
    shelf = _shelf(context, rules)
    found: Made | None = shelf.get(make)
    if found is None:
        found = shelf[make] = make(context, rules)
    return found


def _shelf(context: Context, rules: Rules) -> dict[Any, Any]:
    global _last
    last = _last
    if last is not None and last[0] is context and last[1] is rules:
        return last[2]
    parts = (*(getattr(context, name) for name in _DESCRIBED), rules)
    key = (*map(id, parts), context.model_known, context.nominal_rate_hz)
    if key not in _shelves:
        if len(_shelves) >= _MOST:
            _shelves.clear()
        _shelves[key] = (parts, {})
    shelf = _shelves[key][1]
    _last = (context, rules, shelf)
    return shelf


#: the families of a judge ask one after the other
_last: tuple[Context, Rules, dict[Any, Any]] | None = None
