"""What a producer does wrong beyond one take: identities, labels, its takes' order, its word once a second."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kinestream.deploy.wire.capture import Captured
from kinestream.deploy.wire.checks import Book
from kinestream.deploy.wire.takes import Take
from kinestream.schemas.catalogue import FRAMES_BULK
from kinestream.schemas.models import Models
from kinestream.schemas.skills import load_skills
from kinestream.streams.quality.layout_check import UNITS

#: A robot that sends keeps silent when its word does not come for so long; after a pause that long nothing is known
#: of the time between (it was off, or its network was).
_SILENT_MS: Final = 5_000
#: Its usual interval may be so long, and should be so short, ms.
_RARE_MS: Final = 2_000
_OFTEN_MS: Final = 500
#: Episodes a status names as unsent, at most: with more of them it cannot name all.
_NAMED: Final = 50


class RobotSeen:
    """One robot as its records come."""

    def __init__(self, book: Book, robot_id: str, models: Models) -> None:
        self._book, self.robot_id, self._models = book, robot_id, models
        #: broker times of its last record, of its last word (or of where sending began again), and the longest wait
        self._last_ms = self._word_ms = -1
        self._longest_ms = 0
        self._last: Captured | None = None
        #: times of its statuses, ms, by boot
        self._statuses: dict[str, list[int]] = {}
        self._number = -1
        self._boots: list[str] = []
        #: statuses since the last chunk of the open take, to be judged when another comes
        self._words: list[tuple[Captured, Mapping[str, Any]]] = []
        self._begun = False

    def hear(self, at: Captured) -> None:
        """Any record of it."""
        self._last = at
        if at.at_ms < 0:
            return
        if self._last_ms < 0 or at.at_ms - self._last_ms > _SILENT_MS:
            self._word_ms = at.at_ms
        self._longest_ms = max(self._longest_ms, at.at_ms - self._word_ms)
        self._last_ms = max(self._last_ms, at.at_ms)

    # -- starts ---------------------------------------------------------------

    def begin(self, at: Captured, start: Mapping[str, Any]) -> None:
        """A take begins."""
        self._check_ids(at, start)
        self._check_labels(at, start)
        self._check_units(at, start)
        self._check_model(at, start)
        self._boot(at, start["boot_id"])
        number = start["episode_no"]
        if f".{FRAMES_BULK.entity}." not in at.topic:
            good = number > self._number
            self._book.judge("number", good, at, f"episode_no {number} after {self._number}", "a higher number")
            self._number = max(self._number, number)
        self._words.clear()
        self._begun = False

    def _check_ids(self, at: Captured, start: Mapping[str, Any]) -> None:
        expected = {"episode_id": 7, "boot_id": 0}
        wrong = [f"{name} {start[name]!r}" for name, version in expected.items() if not _is_uuid(start[name], version)]
        wrong += [f"{name} ''" for name in ("robot_id", "model_id") if not start[name]]
        allowed = "UUIDv7 as lower-case text; boot_id any UUID; names that are not empty"
        self._book.judge("ids", not wrong, at, ", ".join(wrong), allowed)

    def _check_labels(self, at: Captured, start: Mapping[str, Any]) -> None:
        listed = load_skills()
        known = {"skill": listed.skill(start["skill"]), "area": listed.area(start["area"])}
        odd = [f"{name} {start[name]!r}" for name, term in known.items() if start[name] and term is None]
        if start["skill"] or start["area"]:
            self._book.judge("labels", not odd, at, ", ".join(odd), "an id of `kinestream skills`")

    def _check_units(self, at: Captured, start: Mapping[str, Any]) -> None:
        jointed = [channel for channel in start["channels"] if channel["name"] in UNITS]
        odd = [c for c in jointed if c["unit"] and c["unit"] not in UNITS[c["name"]]]
        received = ", ".join(f"{c['name']} in {c['unit']!r}" for c in odd)
        expected = ", ".join(f"{c['name']} in {' or '.join(sorted(UNITS[c['name']]))}" for c in odd)
        if jointed:
            self._book.judge("units", not odd, at, received, expected)

    def _check_model(self, at: Captured, start: Mapping[str, Any]) -> None:
        model = self._models.find(start["model_id"])
        if model is None:
            received = f"model_id {start['model_id']!r}, which nobody described: the robot is provisional"
            self._book.broke("model", at, received, "a described model: its limits are then judged")
            return
        strange = [name for name in start["joints"] if name not in model.joint_names]
        ordered = [name for name in model.joint_names if name in set(start["joints"])]
        if strange:
            received = f"joints {', '.join(map(repr, strange[:4]))}, which {model.model_id} has not"
            self._book.broke("model", at, received, f"names as {', '.join(map(repr, model.joint_names[:3]))}")
        elif ordered != list(start["joints"]):
            self._book.broke("model", at, "joints in another order", "the model's: " + ", ".join(ordered[:6]))
        else:
            self._book.held("model")

    # -- statuses ---------------------------------------------------------------

    def status(self, at: Captured, value: Mapping[str, Any], take: Take | None) -> None:
        """Its word; ``take``: the one that is open."""
        good = _is_uuid(value["boot_id"], 0)
        self._book.judge("ids", good, at, f"boot_id {value['boot_id']!r}", "a UUID as lower-case text")
        self._boot(at, value["boot_id"])
        self._word_ms = at.at_ms
        when = at.at_ms if at.at_ms >= 0 else value["sent_at_ns"] // 1_000_000
        self._statuses.setdefault(value["boot_id"], []).append(when)
        if take is not None and take.marked and self._begun and len(value["unsent_episodes"]) < _NAMED:
            self._words.append((at, value))

    def chunk(self, take: Take) -> None:
        """A chunk of its open take: what was said between two of them must have named it."""
        for at, value in self._words:
            named = take.id == value["recording"] or take.id in value["unsent_episodes"]
            said = f"recording {value['recording']!r}, {len(value['unsent_episodes'])} unsent_episodes"
            self._book.judge("recording", named, at, said, f"{take.id}, whose chunks come before and after")
        self._words.clear()
        self._begun = True

    def finish(self) -> None:
        """Once, when no more comes."""
        at = self._last
        if at is None:
            return
        steps = [step for times in self._statuses.values() for step in np.diff(times).tolist()]
        usual = float(np.median(steps)) if steps else 0.0
        if self._longest_ms > _SILENT_MS:
            received = f"records for {self._longest_ms / 1000:.1f} s without any RobotStatus"
            self._book.broke("status", at, received, "one a second")
        elif usual > _RARE_MS:
            self._book.broke("status", at, f"one every {usual / 1000:.1f} s", "one a second")
        elif steps:
            self._book.held("status")
        if len(steps) > 2:
            self._book.judge("status_rate", usual >= _OFTEN_MS, at, f"one every {usual:.0f} ms", "one a second")

    def _boot(self, at: Captured, boot_id: str) -> None:
        if self._boots and self._boots[-1] == boot_id:
            return
        if boot_id in self._boots:
            received = f"boot {boot_id} again after boot {self._boots[-1]}"
            self._book.broke("process", at, received, "one process a robot_id (finding ID_CONFLICT)")
            return
        self._boots.append(boot_id)
        self._book.held("process")


def _is_uuid(text: str, version: int) -> bool:
    """Canonical lower-case text of a UUID; ``version`` 0: of any."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return False
    return str(found) == text and (not version or found.version == version)
