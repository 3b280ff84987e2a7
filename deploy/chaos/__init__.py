"""Chaos: a floor of known frames, a seeded schedule of kills, and an audit that believes nobody."""
