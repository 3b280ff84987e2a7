"""The content hash: one number for what an episode holds, whoever cut, sent or stored it."""

from __future__ import annotations

import copy
import itertools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.schemas.content_hash import BLOCK, ContentHasher, HashedBlock, content_hash, leaf, presence_bitmap
from kinestream.schemas.layout import Channel, Layout
from tests.contract.content_reference import (
    Episode,
    from_vector,
    reference_blocks,
    reference_hash,
    reference_leaves,
    reference_presence,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "schemas/golden/content_hash.json").read_text())
VECTORS = {vector["name"]: vector for vector in GOLDEN["vectors"]}
NAMES = ("hand_position", "s", "t2", "Z", "ä", "\uff5e", "\U0001f916")


@st.composite
def episodes(draw: Any, holes: bool = True, most: int = 400) -> Episode:
    """Up to ``most`` frames of any bits, with or without holes."""
    widths = draw(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), max_size=3))
    total = draw(st.integers(0, most) | st.sampled_from([0, 1, 127, 128, 129, 256, 257]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    present = (
        np.flatnonzero(rng.random(total) < draw(st.sampled_from([0.02, 0.5, 0.97]))) if holes else np.arange(total)
    )
    episode = Episode(widths, total + draw(st.integers(0, 3)))
    for seq in present.tolist():
        episode.t_ns[seq] = 1_760_000_000_000_000_000 + seq * 10_000_000 + int(rng.integers(-5000, 5000))
        episode.values[seq] = {n: rng.integers(0, 2**32, w, np.uint32).tolist() for n, w in widths.items()}
    return episode


def arrays(episode: Episode) -> tuple[Any, Any, dict[str, Any]]:
    """seq int64 (n,), t_ns int64 (n,), channels float32 (n, width) of the frames that exist, in order."""
    seq = np.array(sorted(episode.t_ns), np.int64)
    t_ns = np.array([episode.t_ns[s] for s in seq.tolist()], np.int64)
    rows = {n: [episode.values[s][n] for s in seq.tolist()] for n in episode.widths}
    channels = {n: np.array(rows[n], np.uint32).reshape(-1, w).view(np.float32) for n, w in episode.widths.items()}
    return seq, t_ns, channels


def by_blocks(episode: Episode) -> str:
    """As the assembler does it: from blocks, in any order."""
    seq, t_ns, channels = arrays(episode)
    blocks = []
    for block in reversed(sorted(set((seq // BLOCK).tolist()))):
        inside = seq // BLOCK == block
        leaves = {name: leaf(values[inside]) for name, values in channels.items()}
        leaves["t"] = leaf(t_ns[inside] - t_ns[0])
        blocks.append(HashedBlock(block, presence_bitmap(seq[inside]), leaves))
    return content_hash(episode.widths, blocks, episode.n_total)


def by_robot(episode: Episode, cuts: list[int], flat: bool = False) -> str:
    """As the robot does it: frames in order, cut at ``cuts``."""
    _, t_ns, channels = arrays(episode)
    layout = Layout(("j",), tuple(Channel(name, width, "1") for name, width in episode.widths.items()))
    hasher = ContentHasher(layout)
    edges = [0, *sorted({min(cut, len(t_ns)) for cut in cuts}), len(t_ns)]
    for start, end in itertools.pairwise(edges):
        part = {name: values[start:end].reshape(-1) if flat else values[start:end] for name, values in channels.items()}
        hasher.add(start, t_ns[start:end], part)
    return hasher.hexdigest(episode.n_total)


@settings(max_examples=60)
@given(episodes())
def test_a_hash_made_of_blocks_is_that_of_the_definition(episode: Episode) -> None:
    assert by_blocks(episode) == reference_hash(episode)


@settings(max_examples=60)
@given(episodes(holes=False), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_a_robots_hash_is_that_of_the_definition_however_its_frames_are_cut(
    episode: Episode, cuts: list[int], flat: bool
) -> None:
    assert by_robot(episode, cuts, flat) == reference_hash(episode) == by_blocks(episode)


@settings(max_examples=40)
@given(episodes(holes=False, most=300), st.integers(0, 300))
def test_a_look_at_the_hash_in_between_changes_nothing(episode: Episode, cut: int) -> None:
    layout = Layout(("j",), tuple(Channel(name, width, "1") for name, width in episode.widths.items()))
    _, t_ns, channels = arrays(episode)
    cut, hasher = min(cut, len(t_ns)), ContentHasher(layout)
    hasher.add(0, t_ns[:cut], {name: values[:cut] for name, values in channels.items()})
    before = hasher.hexdigest()
    assert before == hasher.hexdigest(cut)
    hasher.add(cut, t_ns[cut:], {name: values[cut:] for name, values in channels.items()})
    assert hasher.hexdigest(episode.n_total) == reference_hash(episode)


def some_episode(frames: int = 140) -> Episode:
    """Two blocks, holes at 3 and 130, two channels."""
    episode = Episode({"position": 2, "grip": 1}, frames)
    for seq in set(range(frames)) - {3, 130}:
        episode.t_ns[seq] = 1_760_000_000_000_000_000 + seq * 10_000_000
        episode.values[seq] = {"position": [seq, 2 * seq], "grip": [0x3F800000 + seq]}
    return episode


@settings(max_examples=100)
@given(st.integers(0, 139).filter(lambda s: s not in (3, 130)), st.integers(0, 2), st.integers(0, 31))
def test_any_bit_of_any_value_changes_the_hash(seq: int, place: int, bit: int) -> None:
    episode = some_episode()
    values = episode.values[seq]["grip" if place == 2 else "position"]
    values[place % len(values) if place < 2 else 0] ^= 1 << bit
    assert by_blocks(episode) != by_blocks(some_episode())


@settings(max_examples=100)
@given(st.integers(0, 139).filter(lambda s: s not in (3, 130)), st.integers(0, 61))
def test_any_bit_of_any_stamp_changes_the_hash(seq: int, bit: int) -> None:
    episode = some_episode()
    episode.t_ns[seq] ^= 1 << bit
    assert by_blocks(episode) != by_blocks(some_episode())


@given(st.integers(-(2**62), 2**62))
def test_a_shift_of_all_stamps_leaves_the_hash_as_it_is(shift: int) -> None:
    episode = some_episode()
    episode.t_ns = {seq: t + shift for seq, t in episode.t_ns.items()}
    assert by_blocks(episode) == by_blocks(some_episode())


def test_a_shift_of_one_block_against_the_rest_changes_the_hash() -> None:
    episode = some_episode()
    episode.t_ns = {seq: t + (1000 if seq >= BLOCK else 0) for seq, t in episode.t_ns.items()}
    assert by_blocks(episode) != by_blocks(some_episode())


@pytest.mark.parametrize("seq", [0, 1, 127, 128, 139])
def test_a_frame_that_is_missing_changes_the_hash(seq: int) -> None:
    episode = some_episode()
    del episode.t_ns[seq], episode.values[seq]
    assert by_blocks(episode) != by_blocks(some_episode())


@pytest.mark.parametrize(("seq", "to"), [(2, 3), (4, 3), (131, 130), (128, 3)])
def test_a_frame_under_another_number_changes_the_hash(seq: int, to: int) -> None:
    episode = some_episode()
    episode.t_ns[to], episode.values[to] = episode.t_ns.pop(seq), episode.values.pop(seq)
    assert by_blocks(episode) != by_blocks(some_episode())


def test_the_number_of_frames_the_names_and_the_widths_are_part_of_the_hash() -> None:
    total, renamed, reshaped = (some_episode() for _ in range(3))
    total.n_total += 1
    renamed.widths = {"position": 2, "grasp": 1}
    reshaped.widths = {"position": 1, "grip": 1}
    for values in renamed.values.values():
        values["grasp"] = values.pop("grip")
    halves = copy.deepcopy(reshaped.values)
    reshaped.values = {seq: {**values, "position": values["position"][:1]} for seq, values in halves.items()}
    assert len({by_blocks(e) for e in (some_episode(), total, renamed, reshaped)}) == 4


def test_minus_zero_is_not_zero() -> None:
    plus, minus = (some_episode() for _ in range(2))
    plus.values[0]["grip"], minus.values[0]["grip"] = [0], [0x80000000]
    assert by_blocks(plus) != by_blocks(minus)


def test_the_order_in_which_a_layout_names_its_channels_does_not_matter() -> None:
    turned = some_episode()
    turned.widths = dict(reversed(turned.widths.items()))
    assert by_blocks(turned) == by_blocks(some_episode())


def test_a_robots_frames_come_in_order() -> None:
    hasher = ContentHasher(Layout(("j",), ()))
    hasher.add(0, np.zeros(3, np.int64), {})
    for seq in (0, 2, 4):
        with pytest.raises(ValueError, match=f"frame {seq} given, 3 is next"):
            hasher.add(seq, np.zeros(1, np.int64), {})


@pytest.mark.parametrize("name", VECTORS)
def test_the_committed_vectors_hold(name: str) -> None:
    episode = from_vector(VECTORS[name])
    assert by_blocks(episode) == reference_hash(episode) == VECTORS[name]["content_hash"]


@pytest.mark.parametrize("name", VECTORS)
def test_the_committed_blocks_hold(name: str) -> None:
    episode = from_vector(VECTORS[name])
    blocks = {block["block"]: block for block in VECTORS[name]["blocks"]}
    assert list(blocks) == reference_blocks(episode)
    for number, block in blocks.items():
        assert block["presence"] == reference_presence(episode, number).hex()
        assert block["leaves"] == {n: digest.hex() for n, digest in reference_leaves(episode, number).items()}


def test_the_vectors_cover_what_differs_between_implementations() -> None:
    """Holes over a block, a missing first frame, NaN, -0.0, names that UTF-16 sorts differently."""
    texts = [json.dumps(vector) for vector in GOLDEN["vectors"]]
    sorted_by_utf16 = sorted(NAMES, key=lambda name: name.encode("utf-16-be"))
    assert sorted_by_utf16 != sorted(NAMES, key=str.encode)
    assert any(names >= {"\uff5e", "\U0001f916"} for names in map(_names, GOLDEN["vectors"]))
    assert any("7fc00000" in text and "80000000" in text for text in texts)
    assert any([b["block"] for b in v["blocks"]] == [0, 2, 3, 4] and v["missing"][0][0] == 0 for v in GOLDEN["vectors"])


def _names(vector: dict[str, Any]) -> set[str]:
    return {channel["name"] for channel in vector["channels"]}


def test_the_first_vector_by_hand() -> None:
    """Three frames of two joints: every byte that is hashed, spelt out."""
    position = struct.pack("<6f", 0.0, 0.25, 1.0, 1.25, 2.0, 2.25)
    stamps = struct.pack("<3q", 0, 10_000_000, 20_000_000)
    presence = bytes([0b111]) + bytes(15)
    hashed = b"position\0\2\0\0\0\0\0\0\0" + presence + xxhash.xxh3_128_digest(position)
    hashed += b"t\0\1\0\0\0\0\0\0\0" + presence + xxhash.xxh3_128_digest(stamps) + b"\3\0\0\0\0\0\0\0"
    assert xxhash.xxh3_128_hexdigest(hashed) == VECTORS["three frames"]["content_hash"]
