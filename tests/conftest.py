"""Which fixtures exist (they live in tests/plugins, one file a subject), and how deep properties are searched."""

from hypothesis import settings

pytest_plugins = [
    "tests.plugins.broker",
    "tests.plugins.gateway",
    "tests.plugins.ingest",
    "tests.plugins.members",
    "tests.plugins.mockbroker",
    "tests.plugins.recordings",
    "tests.plugins.spool",
    "tests.plugins.store",
    "tests.plugins.worker",
]

#: ``pytest --hypothesis-profile=deep --timeout=0 tests/unit/test_assembly_properties.py``: hours, not seconds.
settings.register_profile("deep", max_examples=20_000)
