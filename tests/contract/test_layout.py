"""The layout of a frame: its id, what it refuses, and what it says when it does."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.layout import JOINT_CHANNELS, RESERVED, Channel, Layout
from kinestream.schemas.registry import Registry
from tests.contract.test_codec_golden import golden

GOLDEN = json.loads((Path(__file__).parents[2] / "schemas/golden/layout_id.json").read_text())
VECTORS = {vector["name"]: vector for vector in GOLDEN["vectors"]}

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
free_names = names.filter(lambda name: name not in RESERVED and name not in JOINT_CHANNELS)


@st.composite
def layouts(draw: Any) -> Layout:
    joints = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    channels = [Channel(name, len(joints), "rad") for name in draw(st.sets(st.sampled_from(JOINT_CHANNELS)))]
    for name in draw(st.lists(free_names, max_size=3, unique=True)):
        width = draw(st.integers(1, 3))
        elements = draw(st.just([]) | st.lists(names, min_size=width, max_size=width))
        channels.append(Channel(name, width, draw(names), tuple(elements)))
    return Layout(tuple(joints), tuple(channels))


def by_hand(layout: Layout) -> bytes:
    """The bytes behind layout_id, as docs/contract.md says."""

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value.encode())) + value.encode()

    def texts(values: tuple[str, ...]) -> bytes:
        return struct.pack("<I", len(values)) + b"".join(text(value) for value in values)

    out = texts(layout.joints) + struct.pack("<I", len(layout.channels))
    for channel in layout.channels:
        out += text(channel.name) + struct.pack("<I", channel.width) + text(channel.unit) + texts(channel.element_names)
    return out


@pytest.mark.parametrize("name", VECTORS)
def test_the_committed_vectors_hold(name: str) -> None:
    vector = VECTORS[name]
    channels = tuple(Channel(c["name"], c["width"], c["unit"], tuple(c["element_names"])) for c in vector["channels"])
    layout = Layout(tuple(vector["joints"]), channels)
    assert by_hand(layout).hex() == vector["bytes"]
    assert layout.layout_id.hex() == vector["layout_id"]


@given(layouts())
def test_a_layout_comes_back_from_a_start_on_the_wire(layout: Layout) -> None:
    codec = Codec(Registry(), "motion.hub.frames.v1")
    start = golden("EpisodeStart.v1")[1] | layout.to_avro()
    assert Layout.from_avro(codec.decode(codec.encode("EpisodeStart", start)).value) == layout


@given(layouts(), layouts())
def test_two_layouts_share_an_id_only_if_they_are_equal(one: Layout, other: Layout) -> None:
    assert (one.layout_id == other.layout_id) == (one == other)


ARM = Layout(("a", "b"), (Channel("position", 2, "rad"), Channel("hand", 1, "1", ("thumb",))))
CHANGED = [
    Layout(("b", "a"), ARM.channels),
    Layout(("a", "c"), ARM.channels),
    Layout(("a", "b"), tuple(reversed(ARM.channels))),
    Layout(("a", "b"), (Channel("velocity", 2, "rad"), ARM.channels[1])),
    Layout(("a", "b"), (Channel("position", 2, "m"), ARM.channels[1])),
    Layout(("a", "b"), (ARM.channels[0], Channel("hand", 2, "1"))),
    Layout(("a", "b"), (ARM.channels[0], Channel("hand", 1, "1"))),
    Layout(("a", "b"), (ARM.channels[0], Channel("hand", 1, "1", ("index",)))),
]


def test_every_part_of_a_layout_is_in_its_id() -> None:
    assert len({layout.layout_id for layout in [ARM, *CHANGED]}) == len(CHANGED) + 1


def test_texts_cannot_run_into_each_other() -> None:
    assert Layout(("ab", "c"), ()).layout_id != Layout(("a", "bc"), ()).layout_id


@pytest.mark.parametrize(
    ("joints", "channels", "said"),
    [
        (("a", "a"), (), r"joints \['a', 'a'\]: every name must be there once"),
        (("a", ""), (), r"joints \['a', ''\]"),
        (("a", "\ud800"), (), "be text"),
        (("a",), (Channel("grip", 1, "\ud800"),), "is no text"),
        (("a",), (Channel("x", 1, ""), Channel("x", 2, "")), r"channels \['x', 'x'\]"),
        (("a",), (Channel("t", 1, "s"),), "channel 't': the names joints, seq, t, t_ns are reserved; rename it"),
        (("a",), (Channel("joints", 1, ""),), "channel 'joints'"),
        (("a",), (Channel("grip\0", 1, ""),), "NUL"),
        (("a",), (Channel("grip", 0, ""),), "'grip' has width 0: allowed are 1 to 65535"),
        (("a",), (Channel("grip", 65536, ""),), "has width 65536"),
        (("a", "b"), (Channel("position", 3, "rad"),), "'position' has width 3, but there are 2 joints"),
        (("a",), (Channel("hand", 2, "1", ("thumb",)),), "'hand' names 1 elements, but has width 2"),
    ],
)
def test_what_does_not_fit_is_refused_and_said(joints: Any, channels: Any, said: str) -> None:
    with pytest.raises(LayoutError, match=said):
        Layout(joints, channels)


def test_a_start_whose_layout_id_is_not_its_own_is_refused_and_both_are_named() -> None:
    start = ARM.to_avro() | {"layout_id": b"\1" * 8}
    with pytest.raises(LayoutError, match=f"layout_id {'01' * 8} is not .*{ARM.layout_id.hex()}"):
        Layout.from_avro(start)


def test_widths_are_values_a_frame() -> None:
    assert dict(ARM.widths) == {"position": 2, "hand": 1}
