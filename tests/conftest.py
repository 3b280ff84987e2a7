"""Which fixtures exist: they live in tests/plugins, one file a subject."""

pytest_plugins = [
    "tests.plugins.broker",
    "tests.plugins.mockbroker",
    "tests.plugins.recordings",
    "tests.plugins.spool",
    "tests.plugins.store",
    "tests.plugins.worker",
]
