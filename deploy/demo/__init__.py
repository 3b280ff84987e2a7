"""The demo: a simulated floor on a local stack, shown live and counted by somebody who trusts nobody's word."""

from __future__ import annotations
