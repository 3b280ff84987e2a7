"""Kinestream: a streaming event platform for real-time motion telemetry."""
