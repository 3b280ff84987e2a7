"""One flipped bit in any value, stamp difference or frame presence is found, wherever it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.schemas.content_hash import content_hash
from kinestream.streams.assembly.seal import hashed_rows
from tests.assembling import Log, Owner, Take

#: Two blocks, the second with a hole: frames 0-129, without number 128.
TAKE = Take(frames=130, joints=("left_elbow_joint",))


def stored():
    owner, log = Owner(), Log()
    owner.feed(log.append(TAKE.start(), TAKE.chunk(0, 128), TAKE.chunk(129, 130), TAKE.end()))
    owner.pass_ms(20_000)
    return owner.store.rows(TAKE.id), owner.store.event()["content_hash"]


ROWS, DIGEST = stored()


def digest_of(rows):
    return content_hash(TAKE.layout.widths, hashed_rows(rows), TAKE.frames)


def test_what_is_stored_gives_the_hash_that_was_announced():
    assert digest_of(ROWS) == DIGEST


@pytest.mark.parametrize("channel", ["position", "velocity"])
@pytest.mark.parametrize("block", [0, 1])
def test_every_bit_of_every_value_counts(channel, block):
    for at in range(len(ROWS[block].seq)):
        for bit in range(32):
            values = ROWS[block].channels[channel].copy()
            values.view(np.uint32)[at, 0] ^= np.uint32(1 << bit)
            changed = replace(ROWS[block], channels={**ROWS[block].channels, channel: values})
            assert digest_of([*ROWS[:block], changed, *ROWS[block + 1 :]]) != DIGEST


@pytest.mark.parametrize("block", [0, 1])
def test_every_bit_of_every_stamp_counts(block):
    for at in range(len(ROWS[block].seq)):
        for bit in range(0, 63, 3):
            stamps = ROWS[block].t_ns.copy()
            stamps[at] ^= 1 << bit
            changed = replace(ROWS[block], t_ns=stamps)
            assert digest_of([*ROWS[:block], changed, *ROWS[block + 1 :]]) != DIGEST


def test_every_frame_that_is_or_is_not_there_counts():
    first, second = ROWS
    for gone in range(128):
        keep = np.arange(128) != gone
        channels = {name: values[keep] for name, values in first.channels.items()}
        less = replace(first, seq=first.seq[keep], t_ns=first.t_ns[keep], channels=channels)
        assert digest_of([less, second]) != DIGEST
    assert digest_of([first]) != DIGEST
    for number in range(128, 256):
        if number != 129:
            assert digest_of([first, replace(second, seq=np.array([number]))]) != DIGEST


def test_a_shift_of_all_stamps_is_no_change():
    assert digest_of([replace(row, t_ns=row.t_ns + 5) for row in ROWS]) == DIGEST


def test_the_announced_length_counts():
    assert content_hash(TAKE.layout.widths, hashed_rows(ROWS), TAKE.frames + 1) != DIGEST
