"""Owns what runs on one machine: broker, registry, supervision. Nothing here is used by a site deployment."""
