"""The batch transport: Faust over whole fetches and a low watermark. Knows nothing of what a record means."""

from __future__ import annotations

from kinestream.streams.transport.driver import Consumer, Transport
from kinestream.streams.transport.fetch import Fetch, FetchSchema

__all__ = ["Consumer", "Fetch", "FetchSchema", "Transport"]
