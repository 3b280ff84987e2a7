"""A robot's spool: frames on disk from before the first connection until the hub has them; one robot, one process."""

from __future__ import annotations

from kinestream.producers.spool.promised import PromisedEpisode, promised

__all__ = ["PromisedEpisode", "promised"]
