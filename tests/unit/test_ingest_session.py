"""The protocol without a socket: what a robot's lines are answered, on a real spool, with no broker in reach."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.messages import Hello
from kinestream.producers.ingest.session import Session
from kinestream.producers.spool import promised
from tests.plugins.gateway import HELLO, frames
from tests.plugins.ingest import START, Make, opened, reason, say
from tests.robots import wait_until


def news(gateway: Gateway, session: Session, kind: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def came() -> bool:
        gateway.tick()
        found.extend(one for one in session.news() if one["type"] == kind)
        return bool(found)

    wait_until(came, 10, kind)
    return found[-1]


REFUSED = [
    (b"\x00\xff\x01", "NOT_JSON"),
    (b"GET / HTTP/1.1", "NOT_JSON"),
    (b"[1, 2]", "NOT_JSON"),
    (b'{"type": "frame", "position": [NaN, 1]}', "NOT_JSON"),
    ({"type": "frames2"}, "UNKNOWN_TYPE"),
    ({"position": [1, 2]}, "UNKNOWN_TYPE"),
    ({"type": "frame", "position": [1, 2], "positon": 1}, "UNKNOWN_FIELD"),
    ({"type": "frame", "position": [1, 2, 3]}, "LAYOUT"),
    ({"type": "frame", "position": [1, "x"]}, "LAYOUT"),
    ({"type": "frame", "position": [[1, 2]]}, "LAYOUT"),
    ({"type": "frame", "channels": {"imu": [1]}}, "LAYOUT"),
    ({"type": "frame"}, "BAD_VALUE"),
    ({"type": "frame", "position": [1, 2], "t": 1, "t_ns": 1}, "BAD_VALUE"),
    ({"type": "frame", "position": [1, 2], "t_ns": 1.5}, "BAD_VALUE"),
    ({"type": "frame", "position": [1, 2], "seq": -1}, "BAD_VALUE"),
    ({"type": "frames", "position": [[1, 2]]}, "BAD_VALUE"),
    ({"type": "frames", "t": [1, 2], "position": [[1, 2]]}, "BAD_VALUE"),
    ({"type": "frames", "t": [1, 2], "position": [[1, 2], [1]]}, "LAYOUT"),
    ({"type": "frames", "t": [1], "position": [[1, 2]], "velocity": [[1, 2], [1, 2]]}, "LAYOUT"),
    ({"type": "frames", "t": [1], "position": [[1, 2]], "channels": {"effort": [[1, 2]]}}, "BAD_VALUE"),
    ({"type": "mark", "kind": "NOPE"}, "BAD_VALUE"),
    ({"type": "mark", "seq": 99}, "GAP"),
    ({"type": "end", "outcome": "GOOD"}, "BAD_VALUE"),
    ({"type": "end", "n_total": 7}, "COUNT_DIFFERS"),
    ({"type": "end", "content_hash": "0" * 32}, "HASH_DIFFERS"),
    (b'{"type": "frame", "t": 1' + b"0" * 400 + b', "position": [1, 2]}', "BAD_VALUE"),
    (b'{"type": "frame", "t_ns": 1' + b"0" * 400 + b', "position": [1, 2]}', "BAD_VALUE"),
    (b'{"type": "frame", "position": [1, 1' + b"0" * 400 + b"]}", "BAD_VALUE"),
    (b'{"type": "mark", "t": 1' + b"0" * 400 + b"}", "BAD_VALUE"),
    (b'{"type": "mark", "t_ns": 9223372036854775808}', "BAD_VALUE"),
    (b'{"type": "mark", "label": "\\ud800"}', "BAD_VALUE"),
    (b'{"type": "mark", "\\ud800": 1}', "UNKNOWN_FIELD"),
    (b"[" * 100_000, "NOT_JSON"),
    ({"type": "start", "subtasks": [1]}, "BAD_VALUE"),
    ({"type": "start", "subtasks": "lift"}, "BAD_VALUE"),
    ({"type": "start", "skill": 5}, "BAD_VALUE"),
    ({"type": "start", "nominal_rate_hz": None}, "BAD_VALUE"),
    ({"type": "start", "source_started_at_ns": 2**70}, "BAD_VALUE"),
    ({"type": "start", "take": "x" * 201}, "BAD_VALUE"),
    ({"type": "start", "take": "t2"}, "TAKE_OPEN"),
    ({"type": "start", "take": "t1", "skil": "grasp"}, "UNKNOWN_FIELD"),
    ({"type": "start", "subtasks": ["x" * 999] * 101}, "TOO_LONG"),
]


def test_bad_input_has_one_clear_answer_and_the_connection_lives_on(gateway: Gateway):
    session, said = opened(gateway), []
    for k, (line, _) in enumerate(REFUSED):
        said.append(reason(session, line))
        assert say(session, frames(k, 1)) == [], line
    assert said == [why for _, why in REFUSED]
    say(session, {"type": "end", "n_total": len(REFUSED)})
    assert news(gateway, session, "ended")["frames"] == len(REFUSED)


def test_null_is_nan_stamps_may_be_texts_and_values_are_nearest_float32(gateway: Gateway, tmp_path: Path):
    session = opened(gateway, {"type": "frame", "t_ns": "1900000000000000123", "position": [None, 0.1]})
    say(session, {"type": "frame", "t": 1.5, "position": [1, 2]}, {"type": "end"})
    news(gateway, session, "ended")
    (kept,) = promised(tmp_path / "hub.ingest" / "arm-7").values()
    assert kept.t_ns.tolist() == [1900000000000000123, 1_500_000_000]
    assert kept.start["nominal_rate_hz"] == HELLO["rate_hz"]
    np.testing.assert_array_equal(kept.channels["position"], np.array([[np.nan, 0.1], [1, 2]], np.float32))


def test_a_line_that_is_too_long_is_left_out_and_told_once(make: Make):
    gateway = make(ingest_line_bytes=5_000)
    session = opened(gateway)
    told = [answer for _ in range(30) for answer in session.feed(b"x" * 1000)]
    assert [one["reason"] for one in told] == ["TOO_LONG"], "before its end: it may have none"
    assert "5,000 bytes" in told[0]["text"]
    assert session.feed(b"x\n") == []
    assert say(session, frames(0, 5)) == []
    assert news(gateway, session, "accepted")["accepted"] == 5


def test_lines_cut_anywhere_are_the_same_lines(gateway: Gateway):
    words = [HELLO, START, frames(0, 3), {"type": "ping"}, {"type": "end"}]
    stream = "\r\n".join(json.dumps(word) for word in words).encode()
    session, answers = gateway.session(), []
    for at in range(len(stream)):
        answers += session.feed(stream[at : at + 1])
    answers += session.feed(last=True)
    assert [one["type"] for one in answers] == ["welcome", "started", "pong"]
    assert news(gateway, session, "ended")["frames"] == 3


def test_repeated_frames_are_dropped_and_other_frames_of_the_same_numbers_refused(gateway: Gateway):
    session = opened(gateway, frames(0, 100))
    assert say(session, frames(0, 100), frames(50, 100)) == []
    other = frames(120, 50)
    other["position"][7][0] = 9.0
    (refused,) = say(session, other)
    assert (refused["reason"], refused["seq"], refused["expected"]) == ("CONFLICT", 127, 150)
    stamped = frames(0, 1)
    stamped["t_ns"][0] += 1
    assert reason(session, stamped) == "CONFLICT"
    say(session, {"type": "end", "n_total": 150})
    assert news(gateway, session, "ended")["frames"] == 150


def test_a_hole_is_told_once_and_closed_by_sending_from_there(gateway: Gateway):
    session = opened(gateway, frames(0, 10))
    (refused,) = say(session, frames(20, 10), frames(30, 10), frames(40, 10))
    assert (refused["reason"], refused["expected"]) == ("GAP", 10)
    assert reason(session, {"type": "end"}) == "COUNT_DIFFERS", "a hole is not ended as if nothing were missing"
    assert say(session, frames(10, 30), {"type": "end", "n_total": 40}) == []
    assert news(gateway, session, "ended")["frames"] == 40


def test_who_says_hello_again_speaks_and_goes_on_where_the_other_stopped(gateway: Gateway):
    first = opened(gateway, frames(0, 30), {"type": "mark", "label": "x"})
    second = gateway.session()
    wait_until(lambda: news(gateway, first, "accepted")["accepted"] == 30, 10, "all are accepted")
    (welcome,) = say(second, HELLO)
    assert (welcome["open"]["take"], welcome["open"]["accepted"]) == ("t1", 30)
    assert reason(first, frames(30, 5)) == "REPLACED"
    assert first.over
    assert reason(second, frames(30, 5)) == "NO_TAKE", "what it did not start or resume it does not send to"
    unnumbered = {name: value for name, value in frames(30, 5).items() if name != "seq"}
    assert reason(second, {"type": "resume"}, unnumbered) == "BAD_VALUE"
    say(second, {"type": "mark", "label": "x", "seq": 30}, frames(25, 15), {"type": "end", "outcome": "SUCCESS"})
    assert news(gateway, second, "ended")["frames"] == 40


def test_a_whole_take_sent_again_is_the_same_take(gateway: Gateway):
    """Without frame numbers too: they count from its start."""
    take = [HELLO, START, {"type": "mark", "label": "x"}, *({**frames(k, 5), "seq": None} for k in (0, 5, 10))]
    for message in take:
        message.pop("seq", None)
    first = gateway.session()
    say(first, *take[:-1])
    second = gateway.session()
    (started,) = [one for one in say(second, *take, {"type": "end"}) if one["type"] == "started"]
    ended = news(gateway, second, "ended")
    assert (ended["frames"], ended["episode_id"]) == (15, started["episode_id"])
    third = gateway.session()
    *_, told, again = say(third, *take, {"type": "end"})
    assert told == {
        "type": "started",
        **{k: ended[k] for k in ("episode_id", "take")},
        "accepted": 15,
        "state": "ENDED",
    }
    assert again == ended


def test_a_gateway_that_starts_again_knows_what_it_had_ended(make: Make):
    first = make()
    session = opened(first, frames(0, 15), {"type": "end", "outcome": "SUCCESS"})
    ended = news(first, session, "ended")
    first.close()
    again = make().session()
    _, started, told = say(again, HELLO, START, frames(0, 15), {"type": "end", "outcome": "SUCCESS"})
    assert (started["state"], started["episode_id"]) == ("ENDED", ended["episode_id"])
    assert told == ended


def test_a_shorter_repeat_does_not_end_a_longer_take(gateway: Gateway):
    opened(gateway, frames(0, 30))
    again = gateway.session()
    assert reason(again, HELLO, START, frames(0, 20), {"type": "end"}) == "COUNT_DIFFERS"
    say(again, {"type": "end", "n_total": 30})
    assert news(gateway, again, "ended")["frames"] == 30


def test_another_take_ends_one_that_its_robot_left(gateway: Gateway):
    opened(gateway, frames(0, 30))
    back = gateway.session()
    say(back, HELLO, {"type": "start", "take": "t2"}, frames(0, 5))
    ended = news(gateway, back, "ended")
    assert (ended["take"], ended["outcome"], ended["frames"]) == ("t1", "ABORTED", 30)


def test_a_take_waits_for_its_robot_and_not_for_ever(make: Make):
    gateway = make(ingest_return_s=0.3)
    session = opened(gateway, frames(0, 30))
    session.leave()
    began = time.monotonic()
    gateway.tick()
    back = gateway.session()
    assert say(back, HELLO)[0]["open"]["take"] == "t1"
    back.leave()
    with gateway.seat("arm-7") as seat:
        wait_until(lambda: gateway.tick() or seat.episode is None, 10, "it is ended")
    assert time.monotonic() - began >= 0.3
    (past,) = say(gateway.session(), HELLO)[0]["past"]
    assert (past["outcome"], past["frames"]) == ("ABORTED", 30)


def test_a_full_spool_holds_lines_back_and_refuses_new_takes(make: Make):
    gateway = make(spool_bytes=100_000, spool_reserve_bytes=50_000)
    session, first = opened(gateway), 0
    answers: list[dict[str, Any]] = []
    while not session.blocked:
        answers += say(session, frames(first, 500))
        first += 500
        assert first < 100_000, "it takes for ever"
    (wait,) = answers
    assert (wait["type"], wait["reason"]) == ("wait", "SPOOL_FULL")
    assert session.feed() == [], "told once"
    assert session.blocked
    other = gateway.session()
    assert say(other, HELLO)[0]["open"]["accepted"] > 1000, "what was accepted is kept"
    assert reason(other, {"type": "start", "take": "t2"}) == "SPOOL_FULL"


def test_marks_are_bounded_like_the_contract_s(make: Make):
    session = opened(make(episode_marks=3))
    say(session, *({"type": "mark", "label": str(k)} for k in range(3)), {"type": "mark", "label": "0"})
    assert reason(session, {"type": "mark", "label": "3"}) == "TOO_MANY"


def test_robots_are_bounded_and_their_ids_name_folders(make: Make):
    gateway = make(ingest_connections=1)
    opened(gateway)
    assert reason(gateway.session(), {**HELLO, "robot_id": "other"}) == "TOO_MANY"
    for bad in ("", ".", "..", "a" * 129, "a\n"):
        assert reason(gateway.session(), {**HELLO, "robot_id": bad}) == "BAD_VALUE"


def test_only_the_token_opens(make: Make):
    gateway = make(ingest_token="secret")
    for token in ({}, {"token": ""}, {"token": "secre"}, {"token": "sécret"}):
        session = gateway.session()
        assert reason(session, {**HELLO, **token}) == "UNAUTHORIZED"
        assert session.over
        assert say(session, {**HELLO, "token": "secret"}) == [], "nothing more is heard"
    assert say(gateway.session(), {**HELLO, "token": "secret"})[0]["type"] == "welcome"


def test_who_never_says_hello_is_told_what_to_say_and_sent_away(gateway: Gateway):
    session = gateway.session()
    answers = say(session, frames(0, 1), b"x", START, HELLO)
    assert [one["reason"] for one in answers] == ["NO_HELLO", "NOT_JSON", "NO_HELLO"]
    assert "send hello first" in answers[0]["text"]
    assert [one.get("closing") for one in answers] == [None, None, True]
    assert session.over


def test_a_wrong_hello_leaves_what_is_open_as_it_was(gateway: Gateway):
    opened(gateway, frames(0, 30)).leave()
    wrong: list[dict[str, Any]] = [
        *({"joints": joints} for joints in (["a", "a"], "ab", None)),
        *({"channels": channels} for channels in ({"position": 3}, {"imu": {"wide": 3}}, {"imu": 100_000})),
        {"rate_hz": -1},
        {"protocol": 2},
    ]
    for one in wrong:
        assert reason(gateway.session(), {**HELLO, **one}) in ("LAYOUT", "BAD_VALUE"), one
        with gateway.seat("arm-7") as seat:
            assert seat.taken == 30, "it is still sent, and ended in time"
    back = gateway.session()
    assert say(back, HELLO)[0]["open"]["take"] == "t1"


def test_a_robot_back_with_other_joints_does_not_go_on_with_its_take(gateway: Gateway, tmp_path: Path):
    opened(gateway, frames(0, 30)).leave()
    (welcome,) = say(gateway.session(), {**HELLO, "joints": ["a", "b", "c"]})
    assert welcome["open"] is None
    (kept,) = promised(tmp_path / "hub.ingest" / "arm-7").values()
    assert (kept.ended, kept.frames) == (True, 30)


def test_a_gateway_that_starts_again_has_what_was_left_without_anybody_coming_back(make: Make):
    first = make()
    opened(first, frames(0, 30))
    say(first.session(), {**HELLO, "robot_id": "idle"})
    with first.seat("arm-7") as seat:
        wait_until(lambda: seat.accepted == 30, 10, "all are accepted")
    first.close()
    second = make(ingest_return_s=0.2)
    assert second.open_left() == 1, "the other has nothing to send"
    with second.seat("arm-7") as seat:
        assert (seat.note.take, seat.accepted) == ("t1", 30)
        robot = seat.robot
        seat.open(Hello("arm-7", "m1", ("a", "b"), rate_hz=50))
        assert seat.robot is robot, "what was opened to send what was left is what its robot goes on with"
        wait_until(lambda: second.tick() or not seat.episode, 10, "it is ended")
    assert say(second.session(), HELLO)[0]["past"][0]["outcome"] == "ABORTED"


def test_a_robot_with_nothing_here_gives_its_seat_up(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kinestream.producers.ingest.gateway._SEAT_S", 0.0)
    gateway = make()
    waiting, idle = opened(gateway, frames(0, 30)), gateway.session()
    say(waiting, {"type": "end"})
    say(idle, {**HELLO, "robot_id": "idle"})
    news(gateway, waiting, "ended")
    assert len(gateway.seats) == 2, "both are connected"
    waiting.leave()
    idle.leave()
    gateway.tick()
    assert [seat.robot_id for seat in gateway.seats] == ["arm-7"], "its take has no receipt yet"
    assert say(gateway.session(), {**HELLO, "robot_id": "idle"})[0]["type"] == "welcome"


def test_a_take_that_lost_an_unnumbered_frame_does_not_end_as_if_it_had_not(gateway: Gateway):
    session = opened(gateway, {"type": "frame", "position": [0, 0]})
    assert reason(session, {"type": "frame", "position": [0, "x"]}) == "LAYOUT"
    assert reason(session, {"type": "mark", "kind": "NOPE"}) == "BAD_VALUE", "no frame: nothing is lost by it"
    assert say(session, {"type": "frame", "position": [0, 0]}) == []
    (refused,) = say(session, {"type": "end", "outcome": "SUCCESS"})
    assert (refused["reason"], refused["expected"]) == ("COUNT_DIFFERS", 2)
    assert "refused lines that may have held frames (1)" in refused["text"]
    say(session, {"type": "end", "outcome": "SUCCESS", "n_total": 2})
    assert news(gateway, session, "ended")["frames"] == 2


@pytest.mark.parametrize("line", [b"{", {"type": "fram", "position": [0, 0]}, {"type": "frames", "positon": [[0, 0]]}])
def test_a_take_whose_only_frames_were_refused_waits_for_them(gateway: Gateway, line: Any):
    """As one POST says it; the next one sends the whole take again, and it is that take."""
    session = opened(gateway)
    assert reason(session, line)
    assert reason(session, {"type": "end"}) == "COUNT_DIFFERS"
    again = gateway.session()
    say(again, HELLO, START, frames(0, 2), {"type": "end"})
    assert news(gateway, again, "ended")["frames"] == 2


def test_numbers_make_good_what_was_refused(gateway: Gateway):
    session = opened(gateway, {**frames(0, 1)})
    assert reason(session, {**frames(1, 1), "position": [[0]]}) == "LAYOUT"
    assert say(session, frames(1, 2)) == []
    say(session, {"type": "end"})
    assert news(gateway, session, "ended")["frames"] == 3
