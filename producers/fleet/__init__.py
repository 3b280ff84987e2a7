"""A simulated floor: robots that move within their limits, and faults whose place is known."""

from __future__ import annotations
