"""docs/ingest.md is true: its lines are taken, its words are the code's."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from kinestream import Settings
from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.messages import _READERS
from kinestream.producers.labels import EpisodeLabels

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ingest.md").read_text(encoding="utf-8")
CODE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "producers" / "ingest").glob("*.py"))


def table(title: str) -> list[str]:
    """First cells of the table behind a heading or another table's header."""
    rows = PAGE[PAGE.index(title) :].split("\n\n")[0].splitlines()[2:]
    return [word for row in rows for word in re.findall(r"\w+", row.split("|")[1])]


def test_the_take_it_shows_is_taken_as_it_stands(tmp_path: Path) -> None:
    (lines,) = re.findall(r"^```ndjson\n(.*?)^```", PAGE, re.M | re.S)
    gateway = Gateway(Settings(kafka="127.0.0.1:1", spool=str(tmp_path)))
    session = gateway.session()
    answers = session.feed(lines.encode())
    gateway.close()
    assert [one["type"] for one in answers] == ["welcome", "started"]
    shown = re.findall(r'^\{"type": "(\w+)"', PAGE[PAGE.index("```json\n") :], re.M)
    assert shown == ["welcome", "started", "accepted", "ended", "stored"]
    (welcome,) = re.findall(r'^\{"type": "welcome".*$', PAGE, re.M)
    assert set(re.findall(r'"(\w+)":', welcome)) == set(answers[0])


def test_it_lists_every_message_answer_and_reason() -> None:
    assert set(table("| type | fields |")) == set(_READERS)
    assert set(table("| type | says |")) == set(re.findall(r'"type": "(\w+)"', CODE)) - {"pong"} | {
        *("started", "resumed", "accepted", "ended", "stored")  # made by TakeNote.answer
    }
    assert set(table("| reason | what to do |")) == set(
        re.findall(r'(?:Error\(\s*|"reason": |\d, )"([A-Z_]{3,})"', CODE)
    )


def test_it_lists_every_label_and_its_settings_exist() -> None:
    (labels,) = re.findall(r"Labels, all optional: (.*?) \|", PAGE)
    assert re.findall(r"`(\w+)`", labels) == [name for name in EpisodeLabels.__annotations__ if name in labels]
    assert set(re.findall(r"`(\w+)`", labels)) == set(EpisodeLabels.__annotations__)
    settings = {field.name.upper(): field.default for field in fields(Settings)}
    assert set(re.findall(r"`((?:INGEST|SPOOL)_[A-Z_]+)`", PAGE)) <= set(settings)
    for said, name in ((1_000_000, "LINE_BYTES"), (120, "IDLE_S"), (60, "RETURN_S"), (256, "CONNECTIONS")):
        assert settings[f"INGEST_{name}"] == said
        assert re.search(rf"{said:,}[^`]*\(`INGEST_{name}`\)", PAGE), name
