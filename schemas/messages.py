"""What findings say, in English and Chinese: messages.yaml made ready. Never decides which sentence is due."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

from kinestream.schemas.errors import SettingError

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SILENT = {"joint", "k"}


@dataclass(frozen=True, slots=True)
class Wording:
    """One text in both languages; a template where it is a sentence."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Messages:
    """All of messages.yaml."""

    sentences: Mapping[str, Wording]
    quantities: Mapping[str, Wording]
    channels: Mapping[str, Wording]
    words: Mapping[str, str]

    def say(self, key: str, **facts: Any) -> Wording:
        """The sentence ``key`` with its fields filled in; a field's Chinese form is the fact ``<field>_zh``."""
        sentence = self.sentences[key]
        return Wording(sentence.en.format(**facts), sentence.zh.format(**facts))


@cache
def load_messages() -> Messages:
    """Read messages.yaml; raises :class:`SettingError` where PyYAML is not installed (a robot does without it)."""
    try:
        yaml: Any = import_module("yaml")
    except ImportError as missing:
        raise SettingError(
            "the messages are YAML and PyYAML is not installed: pip install 'kinestream[worker]'"
        ) from missing
    content = yaml.safe_load((files("kinestream.schemas") / "messages.yaml").read_text(encoding="utf-8"))
    texts = {
        name: {key: Wording(**both) for key, both in content[name].items()}
        for name in ("sentences", "quantities", "channels")
    }
    return Messages(**texts, words=content["words"])


@cache
def spoken(joint: str) -> Wording:
    """A joint's name in words: ``left_elbow_joint`` is "left elbow" and 左肘; no two joints of a model share one."""
    words = load_messages().words
    parts = [part.lower() for part in _PARTS.findall(joint)]
    told = [part for part in parts if part not in _SILENT]
    if all(part.isdecimal() for part in told):  # "joint 18" is a name, "18" is none
        told = parts
    if not told:
        return Wording(joint, joint)
    full = {"l": "left", "r": "right"}
    chinese = [words.get(part, part) for part in told]
    joined = "".join(
        a + (" " if a.isascii() and b.isascii() else "") for a, b in zip(chinese, [*chinese[1:], "．"], strict=True)
    )
    return Wording(" ".join(full.get(part, part) for part in told), joined)
