"""Descriptions of robots in others' formats (URDF, MJCF) to drafts of ours; never publishes or reviews one."""

from kinestream.producers.descriptions.draft import Draft, Labels, import_description

__all__ = ["Draft", "Labels", "import_description"]
