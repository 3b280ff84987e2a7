"""Stamps as text keep every nanosecond, before the epoch and at both ends of int64 too."""

import pytest

from kinestream.schemas.stamps import iso_ns


@pytest.mark.parametrize(
    ("t_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_600_000_000_123_456_789, "2020-09-13T12:26:40.123456789Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (-(2**63), "1677-09-21T00:12:43.145224192Z"),
    ],
)
def test_every_nanosecond_is_written(t_ns, text):
    assert iso_ns(t_ns) == text
