"""Recordings judged by the live judge, and pictures of what it found; no metric and no threshold is defined here."""
