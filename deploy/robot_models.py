"""What is known of robot models here: described, registered and provisional ones together; judges and sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kinestream.schemas.errors import BrokerError, KinestreamError, StoreError, UnknownModelError
from kinestream.schemas.lacking import lack_limits
from kinestream.schemas.model_files import read_model
from kinestream.schemas.models import Models, RobotModel, find_model, load_model, model_ids
from kinestream.schemas.settings import Settings

#: How a file that describes a robot ends.
_URDF_OR_MJCF = (".urdf", ".xml", ".mjcf", ".xacro")
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model: ``state`` is described, registered or provisional; ``known`` counts the limits that are known."""

    model_id: str
    version: str
    maker: str
    model: str
    category: str
    state: str
    joints: int
    joint_names: tuple[str, ...]
    known: dict[str, int] = field(default_factory=dict)
    #: of a provisional model: robots that sent it, their episodes, and what the newest was not judged by ...
    robots: int = 0
    episodes: int = 0
    not_evaluated: tuple[str, ...] = ()
    #: ... because nobody knows its limits; the rest has other reasons, and a description would change nothing
    lack_limits: tuple[str, ...] = ()


def known_models(*, offline: bool = False) -> tuple[list[KnownModel], list[str]]:
    """Every model, by id, and why broker or store could not be asked, a sentence each."""
    found = {model_id: _described(load_model(model_id), "described") for model_id in model_ids()}
    silent: list[str] = []
    if not offline:
        try:
            found |= {model.model_id: _described(model, "registered") for model in registered().registered()}
        except KinestreamError as problem:
            silent.append(f"registered models ({problem})")
        try:
            found |= {one.model_id: one for one in _provisional(tuple(found))}
        except KinestreamError as problem:
            silent.append(f"provisional models ({problem})")
    return [found[model_id] for model_id in sorted(found)], silent


def registered() -> Models:
    """What the tenant has registered; raises :class:`BrokerError` where no broker answers."""
    settings = Settings.from_env()
    kafka = _broker(settings)
    if not kafka:
        raise BrokerError("no broker runs: `kinestream up`, or set KINESTREAM_KAFKA")
    from kinestream.schemas.registry import Registry
    from kinestream.streams.model_log import ModelLog

    log = ModelLog(settings, kafka, Registry(settings.registry))
    try:
        return log.read(_ANSWER_S)
    finally:
        log.close()


def _broker(settings: Settings) -> str:
    """Its address; empty where nothing was ever started here, which takes no client to know."""
    if not settings.kafka and not (settings.home.expanduser() / "stack.json").exists():
        return ""
    from kinestream.deploy.local.stack import Stack

    return Stack(settings).where().kafka


def model_named(name: str) -> RobotModel:
    """The model of a file, or the one in force of an id; raises :class:`ModelError` or :class:`UnknownModelError`.

    A broker that is away cannot say what is registered: then an id is what this version describes.
    """
    path = Path(name)
    if path.suffix.lower() in _URDF_OR_MJCF:
        from kinestream.producers.descriptions import import_description

        return import_description(path).model
    if path.suffix.lower() == ".json" or path.is_file():
        return read_model(path)
    try:
        return registered().find(name) or load_model(name)
    except BrokerError:
        return load_model(name)


def registered_named(name: str) -> RobotModel | None:
    """The description somebody registered under an id; ``None`` where it is the one shipped here, or no id at all.

    Raises :class:`UnknownModelError` for an id nobody has described, and says so where no broker could be asked.
    """
    if not name or name.startswith("provisional:") or name.lower().endswith(".json"):
        return None
    try:
        found = registered().find(name)
    except KinestreamError as problem:
        if find_model(name) is not None:
            return None
        try:
            load_model(name)
        except UnknownModelError as unknown:
            raise UnknownModelError(
                f"{unknown}; what is registered could not be asked: {problem}; a robot nobody has described is"
                f" provisional:{name}"
            ) from problem
        return None
    shipped = load_model(name) if found is None else find_model(name)
    return None if found is shipped else found


def provisional_named(model_id: str) -> KnownModel | None:
    """A model robots sent and nobody has described; ``None`` where none is called so, or no store answers."""
    try:
        return next((one for one in _provisional(()) if one.model_id == model_id), None)
    except KinestreamError:
        return None


def _provisional(known: tuple[str, ...]) -> list[KnownModel]:
    from kinestream.deploy.local.stack import Stack
    from kinestream.streams.archive import Archive

    settings = Settings.from_env()
    url = Stack(settings).where().clickhouse
    if not url:
        raise StoreError("no store runs: `kinestream up`, or set KINESTREAM_CLICKHOUSE")
    rows = Archive(settings, url).unknown_models(known)
    return [
        KnownModel(
            model_id=row["model_id"],
            version="",
            maker="",
            model="",
            category="",
            state="provisional",
            joints=len(row["joints"]),
            joint_names=tuple(row["joints"]),
            robots=row["robots"],
            episodes=row["episodes"],
            not_evaluated=tuple(row["not_evaluated"]),
            lack_limits=lack_limits(row["not_evaluated"], row["channels"]),
        )
        for row in rows
        if find_model(row["model_id"]) is None
    ]


def _described(model: RobotModel, state: str) -> KnownModel:
    limits = {"position": model.lower + model.upper, "velocity": model.velocity, "effort": model.effort}
    return KnownModel(
        model_id=model.model_id,
        version=model.version,
        maker=model.maker,
        model=model.model,
        category=model.category,
        state=state,
        joints=len(model.joint_names),
        joint_names=model.joint_names,
        known={name: int(np.isfinite(values).sum()) for name, values in limits.items()},
    )
