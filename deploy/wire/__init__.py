"""Whether a producer keeps to docs/wire.md: what it sent, message by message, and what a worker makes of it."""
