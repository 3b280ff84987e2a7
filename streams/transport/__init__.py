"""The batch transport: Faust over whole fetches and a low watermark. Knows nothing of what a record means.

For fencing: :meth:`Consumer.owns` (a partition, and the generation its :class:`Fetch` and ``Consumer.generation``
name) is True only while the broker's last proof of our membership, :meth:`Consumer.confirmed_since` (monotonic seconds
of the request it answered), is younger than half the session. A process stopped past its session answers False.
"""

from __future__ import annotations

from kinestream.streams.transport.driver import Consumer, Transport
from kinestream.streams.transport.fetch import Fetch, FetchSchema
from kinestream.streams.transport.holding import Lag

__all__ = ["Consumer", "Fetch", "FetchSchema", "Lag", "Transport"]
