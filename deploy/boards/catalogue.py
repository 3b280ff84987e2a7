"""Which boards there are, and their committed JSON; a test holds the JSON to the code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kinestream.schemas.settings import Settings

FOLDER: Final = Path(__file__).parent / "json"


@dataclass(frozen=True, slots=True)
class Board:
    """A board: its file's name and how it is built."""

    name: str
    build: Callable[[Settings], Any]

    @property
    def path(self) -> Path:
        """Where its JSON is committed."""
        return FOLDER / f"{self.name}.json"

    def document(self, settings: Settings) -> dict[str, Any]:
        """The board as plain JSON values, for the zone and the goal of ``settings``."""
        document: dict[str, Any] = json.loads(self.text(settings))
        return document

    def text(self, settings: Settings) -> str:
        """The file's content."""
        from grafana_foundation_sdk.cog.encoder import JSONEncoder

        built = self.build(settings)
        return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _hub_pulse(settings: Settings) -> Any:
    from kinestream.deploy.boards import hub_pulse

    return hub_pulse.build(settings)


BOARDS: Final[Mapping[str, Board]] = {board.name: board for board in (Board("hub-pulse", _hub_pulse),)}


def renew(settings: Settings, folder: Path = FOLDER) -> list[Path]:
    """Write every board's JSON into ``folder``; the files whose content changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for board in BOARDS.values():
        path, text = folder / board.path.name, board.text(settings)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed
