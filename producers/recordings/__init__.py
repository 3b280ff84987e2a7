"""Recordings of other tools, read as episodes; never written, never mended: every conversion is told."""

from __future__ import annotations

from kinestream.producers.recordings.formats import open_recording
from kinestream.producers.recordings.oddities import Oddities
from kinestream.producers.recordings.recording import RecordedEpisode, Recording, missing_note
from kinestream.producers.recordings.take import Choices

__all__ = ["Choices", "Oddities", "RecordedEpisode", "Recording", "missing_note", "open_recording"]
