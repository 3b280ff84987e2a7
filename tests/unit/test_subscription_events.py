"""The announced episode as a typed value: told from its message, and told as JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kinestream.deploy.cli.subscribe import _as_json, _told
from kinestream.schemas.catalogue import EPISODE_COMPLETED, EPISODE_WITHDRAWN
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError, DecodeError, SettingError
from kinestream.schemas.registry import Registry, latest_schema
from kinestream.schemas.settings import Settings
from kinestream.streams.events import EpisodeCompleted, event_of, withdrawal_of
from kinestream.streams.subscription import Subscription

CODEC = Codec(Registry(), "motion.hub.episodes.v1")
GOLDENS = Path(__file__).parents[2] / "schemas/golden"
GOLDEN = json.loads((GOLDENS / "EpisodeCompleted.v2.json").read_text())


class Message:
    """What a consumer hands on."""

    def __init__(self, value: bytes, **headers: str) -> None:
        self._value, self._headers = value, [(name, text.encode()) for name, text in headers.items()]

    def value(self) -> bytes:
        return self._value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers or None


def message(ce_type: str = EPISODE_COMPLETED, ce_id: str = "", **changed: Any) -> Message:
    value = {**GOLDEN, **changed}
    ce_id = ce_id or f"{value['episode_id']}/{value['revision']}"
    return Message(CODEC.encode("EpisodeCompleted", value), ce_type=ce_type, ce_id=ce_id)


def test_the_type_has_the_fields_of_the_schema_and_one_of_them_by_another_name() -> None:
    declared = {one["name"] for one in latest_schema("EpisodeCompleted")[1]["fields"]}
    ours = {one.name for one in fields(EpisodeCompleted)} - {"ce_id", "read"}
    assert ours == declared - {"frames"} | {"location"}


def test_the_type_of_event_is_the_one_promised_to_every_subscriber() -> None:
    assert EPISODE_COMPLETED == "io.kinestream.episode.completed.v1"


def test_an_event_carries_every_value_of_its_record() -> None:
    event = event_of(message(), CODEC)
    assert event is not None
    assert {**event.to_json(), "ce_id": None} == {**GOLDEN, "ce_id": None}
    assert event.ce_id == f"{GOLDEN['episode_id']}/2"
    assert event.location["table"] == "frame_blocks"


def test_json_never_holds_nan() -> None:
    metrics = [{"id": "T1", "joint": None, "value": float("nan"), "unit": "Hz", "flag": "GOOD"}]
    event = event_of(message(duration_s=float("inf"), metrics=metrics), CODEC)
    assert event is not None
    document = json.loads(json.dumps(event.to_json(), allow_nan=False))
    assert (document["duration_s"], document["metrics"][0]["value"]) == (None, None)


def test_another_type_of_our_events_is_none_of_ours_to_read() -> None:
    assert event_of(message("io.kinestream.episode.withdrawn.v1"), CODEC) is None


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (Message(b"not framed"), "header ce_type is missing"),
        (message("com.example.other"), "under ce_type 'com.example.other'"),
        (Message(b"not framed", ce_type=EPISODE_COMPLETED, ce_id="a/1"), "do not begin with 0"),
        (message(ce_id="somebody/1"), "ce_id 'somebody/1' on revision 2 of episode"),
    ],
)
def test_what_is_no_event_says_why(broken: Message, told: str) -> None:
    with pytest.raises(DecodeError, match=told):
        event_of(broken, CODEC)


def test_an_event_made_by_hand_says_who_has_its_frames() -> None:
    event = event_of(message(), CODEC)
    assert event is not None
    with pytest.raises(SettingError, match="ask Archive for its frames"):
        event.frames()


def test_without_an_address_it_says_which_variable_to_set() -> None:
    with pytest.raises(SettingError, match=r"set KINESTREAM_KAFKA \(`kinestream status` shows it\)"):
        Subscription(settings=Settings())


@pytest.mark.parametrize(("name", "word"), [("verdict", "GOOD"), ("status", "OPEN")])
def test_a_misspelt_filter_would_wait_for_ever(name: str, word: str) -> None:
    with pytest.raises(ContractError, match=f"{name} {word}: allowed are "):
        Subscription(settings=Settings(), kafka="127.0.0.1:1", **{name: word})  # type: ignore[arg-type]


def test_a_withdrawal_is_a_line_of_its_own() -> None:
    value = json.loads((GOLDENS / "EpisodeWithdrawn.v1.json").read_text())
    ce_id = f"{value['episode_id']}/{value['revision']}"
    sent = Message(CODEC.encode("EpisodeWithdrawn", value), ce_type=EPISODE_WITHDRAWN, ce_id=ce_id)
    event = withdrawal_of(sent, CODEC)
    assert event is not None
    assert json.loads(_as_json(event)) == {"ce_id": ce_id, "status": "WITHDRAWN", **value}
    assert _told(event).startswith(f"{value['episode_id']}  {value['robot_id']}  WITHDRAWN by {value['by']}")
    assert withdrawal_of(message(), CODEC) is None


def test_withdrawn_episodes_have_an_event_of_their_own() -> None:
    with pytest.raises(ContractError, match=r"status WITHDRAWN: .* give on_withdrawn="):
        Subscription(settings=Settings(), kafka="127.0.0.1:1", status="WITHDRAWN")
