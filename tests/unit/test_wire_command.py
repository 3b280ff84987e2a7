"""The command `wire check` on files: what is a capture, what is said, which exit code."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.deploy.wire.capture import Captured, read_capture, write_capture
from kinestream.schemas.errors import RecordingError
from tests.capturing import Wire, changed, said, wire_take
from tests.sending import encode


def written(path: Path, messages: list[Captured]) -> Path:
    with path.open("wb") as file:
        assert write_capture(file, messages) == len(messages)
    return path


def ran(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(application(), ["wire", "check", *map(str, arguments)])
    return done.exit_code, done.stdout


def test_a_good_capture_ends_with_0_and_says_what_was_looked_at(tmp_path: Path) -> None:
    take = wire_take()
    code, text = ran(written(tmp_path / "good.jsonl", Wire().send(said(take)).messages))
    assert code == 0
    assert "ok    hash        the content hash is that of the frames" in text
    assert "not seen    copies, recut" in text
    assert f"episode {take.id}: COMPLETE, 300 frames of 300, hash verified, ACCEPT" in text
    assert text.endswith("37 records conform\n")


def test_a_bad_one_ends_with_1_and_says_where_what_and_what_to_do(tmp_path: Path) -> None:
    words = changed(said(wire_take()), "EpisodeEnd", lambda end: {**end, "n_total": 299})
    file = written(tmp_path / "bad.jsonl", Wire().send(words).messages)
    code, text = ran(file)
    assert code == 1
    assert "FAIL  total" in text
    assert "record 36 (motion.hub.frames.v1 4/35) -> dead letter INCONSISTENT" in text
    assert "to do       n_total = highest seq + 1" in text
    assert "a worker refuses: INCONSISTENT 1 (dead letters)" in text
    assert text.endswith("37 records do not conform: total\n")
    code, text = ran(file, "--json")
    document = json.loads(text)
    assert (code, document["conforms"], document["dead_letters"]) == (1, False, {"INCONSISTENT": 1})
    (total,) = [one for one in document["checks"] if one["result"] == "fail"]
    assert (total["id"], total["failures"][0]["record"], total["failures"][0]["offset"]) == ("total", 36, 35)


def test_a_capture_is_read_as_it_was_written(tmp_path: Path) -> None:
    odd = Captured(2, b"\0\1", "t", 3, 4, 5, b"\xff", True, (("a", b"1"), ("b", None)))
    messages = [Captured(1, b"", "t", 0, 0, 0, None, True), odd]
    assert list(read_capture(written(tmp_path / "c.jsonl", messages))) == messages


def test_binary_files_hold_one_message_or_several_behind_their_lengths(tmp_path: Path) -> None:
    raws = [encode(record, value) for record, value, _ in said(wire_take())]
    one, several = tmp_path / "one.bin", tmp_path / "several.bin"
    one.write_bytes(raws[1])
    several.write_bytes(b"".join(len(raw).to_bytes(4, "big") + raw for raw in raws))
    assert [message.raw for message in read_capture(one)] == [raws[1]]
    assert [message.raw for message in read_capture(several)] == raws
    assert ran(one)[0] == ran(several)[0] == 0
    assert next(iter(read_capture(several))).key_known is False


def test_bytes_may_be_hexadecimal_and_everything_else_left_out(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text('\n{"value_hex": "0000 0002"}\n{"value": "AAE=", "key_base64": "/w==", "topic": null}\n')
    first, second = read_capture(file)
    assert (first.number, first.raw, first.key_known, first.at_ms) == (1, b"\0\0\0\2", False, -1)
    assert (second.number, second.raw, second.own_key, second.topic) == (2, b"\0\1", b"\xff", "")


@pytest.mark.parametrize(
    ("content", "said_of_it"),
    [
        ("", "is empty"),
        ("{oops}", "line 1 is no JSON"),
        ('{"value": "!"}', "line 1: value cannot be read"),
        ('{"value_hex": "0g"}', "line 1: value cannot be read"),
        ('{"key": "r1"}', "line 1 has no value"),
        ('{"value": "", "partition": "3"}', "line 1: partition is '3', not int"),
        ('{"value": "", "headers": []}', "line 1: headers is [], not dict"),
        ('{"value": ""}\n[1]', "line 2 is no JSON object"),
    ],
)
def test_what_is_no_capture_is_one_clear_sentence(tmp_path: Path, content: str, said_of_it: str) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(content)
    with pytest.raises(RecordingError) as refused:
        list(read_capture(file))
    assert said_of_it in str(refused.value)
    assert ran(file)[0] == 2


def test_a_file_or_a_robot_is_wanted_not_both(tmp_path: Path) -> None:
    assert ran()[0] == 2
    assert ran(tmp_path / "c.jsonl", "--robot", "r1")[0] == 2
    assert ran(tmp_path / "nothing.jsonl")[0] == 2


def test_a_bytes_value_survives_base64(tmp_path: Path) -> None:
    raw = bytes(range(256))
    file = tmp_path / "c.jsonl"
    file.write_text(json.dumps({"value": base64.b64encode(raw).decode()}))
    assert [message.raw for message in read_capture(file)] == [raw]
