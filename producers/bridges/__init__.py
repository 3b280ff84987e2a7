"""Bridges from what robots speak among themselves to the SDK; each maps, none keeps or sends anything itself."""
