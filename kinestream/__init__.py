"""Kinestream: a streaming event platform for real-time motion telemetry; the few public names, and nothing else.

Each name is imported when it is first used, so that a robot needs only what a robot needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinestream.producers.episode import Episode
    from kinestream.producers.findings import RobotFinding
    from kinestream.producers.robot import Robot
    from kinestream.schemas.errors import ContractError, DeliveryError, KinestreamError, LayoutError
    from kinestream.schemas.layout import Channel
    from kinestream.schemas.settings import Settings
    from kinestream.streams.events import EpisodeCompleted
    from kinestream.streams.subscription import Subscription

_HOMES = {
    "Channel": "kinestream.schemas.layout",
    "ContractError": "kinestream.schemas.errors",
    "DeliveryError": "kinestream.schemas.errors",
    "Episode": "kinestream.producers.episode",
    "EpisodeCompleted": "kinestream.streams.events",
    "KinestreamError": "kinestream.schemas.errors",
    "LayoutError": "kinestream.schemas.errors",
    "Robot": "kinestream.producers.robot",
    "RobotFinding": "kinestream.producers.findings",
    "Settings": "kinestream.schemas.settings",
    "Subscription": "kinestream.streams.subscription",
}

__all__ = [
    "Channel",
    "ContractError",
    "DeliveryError",
    "Episode",
    "EpisodeCompleted",
    "KinestreamError",
    "LayoutError",
    "Robot",
    "RobotFinding",
    "Settings",
    "Subscription",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"kinestream has no {name!r}; its names are {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
