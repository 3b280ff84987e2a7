"""Measuring: each figure beside its peer, in one run, on the same data. Never part of what runs on a floor."""
