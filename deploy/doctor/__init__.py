"""Owns looking at a machine and its stack: what is there, what is missing, what to do. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kinestream.deploy.doctor.finding import FAIL, OK, WARN, Finding
from kinestream.deploy.doctor.machine import machine
from kinestream.deploy.doctor.stack import running
from kinestream.schemas.settings import Settings

__all__ = ["FAIL", "OK", "WARN", "Finding", "examine"]


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, one after the other, the machine's first; nothing need be running."""
    yield from machine(settings)
    yield from running(settings)
