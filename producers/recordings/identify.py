"""Which robot a recording is of, by what it declares and how it names joints; never chooses between two that fit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from kinestream.producers.recordings.take import Hint
from kinestream.schemas.errors import RecordingError, UndecidedError, UnknownModelError
from kinestream.schemas.model_files import read_model
from kinestream.schemas.models import RobotModel, load_model, model_ids

#: The model a data set's robot_type stands for.
MODELS: Final = {"Unitree_G1_Inspire": "unitree-g1-29-dof"}
#: What LeRobot calls a robot whose model is described; it says nothing of units.
ROBOT_TYPES: Final = {
    **dict.fromkeys(("so100", "so100_follower"), "therobotstudio-so-100"),
    **dict.fromkeys(("so101", "so101_follower"), "therobotstudio-so-101"),
    **dict.fromkeys(("koch", "koch_follower"), "koch-koch-v1-1-follower"),
}
#: Dialects whose names other robots bear too.
SHARED: Final = frozenset({"robosuite", "mujoco-menagerie", "interbotix-ros", "act", "lerobot", "lerobot-v2"})
#: Models whose joint names are those of a whole family, most of it not described: the names alone prove nothing.
FAMILIES: Final = {"universal-robots-ur5e": "every arm of Universal Robots"}
#: Names that only count joints, by side at most (joint1, right_joint_2.pos, A3): many robots' joints bear them.
COUNTED: Final = re.compile(
    r"(?:(?:left|right|l|r|arm|arm\d|robot|robot\d)[._/ -]?)*"
    r"(?:(?:joint|j|axis|motor|servo|q|a)[._/ -]?\d+(?:[._/ -]joint)?(?:\.pos)?"
    r"|(?:q_?pos|q|joint_?pos(?:ition)?s?)(?:_?\d+|\[\d+\]))",
    re.I,
)
#: Before the name of a robot nobody has described.
PROVISIONAL: Final = "provisional:"
#: What the names of a hand's or a gripper's joints hold: a model of the body does not describe them.
_HAND: Final = ("hand", "gripper", "finger", "thumb", "index", "middle", "ring", "pinky", "endleft", "endright")
#: A robot's name shorter than this, letters and digits, is part of too many others.
_SHORTEST: Final = 4
#: Joints that must be a model's for the few others to look misspelt.
_NEARLY: Final = 4
#: Letters of a robot's name that its provisional id takes.
_LONGEST: Final = 32


@dataclass(frozen=True, slots=True)
class Guess:
    """A robot and why: ``confidence`` 1 declared, 0.9 by all joints' names, below 0.9 not enough to publish by.

    ``model`` is ``None`` for a robot nobody has described. ``choices`` are the models that fit where none is certain,
    ``own`` is what the recording calls its robot.
    """

    model_id: str
    model: RobotModel | None
    confidence: float
    why: str
    choices: tuple[str, ...] = ()
    own: str = ""

    def certain(self, where: object) -> Guess:
        """Itself; raises :class:`RecordingError` with the choices where it would be a guess."""
        if not self.choices:
            return self
        nobodys = f"{PROVISIONAL}{_slug(self.own) or 'NAME'}"
        raise UndecidedError(
            f"{where}: {self.why}; name the robot with --model {' or --model '.join(self.choices)}"
            f" or, if it is none of them, --model {nobodys}",
            "model",
            (*self.choices, nobodys),
        )


def named(model: str) -> Guess:
    """The robot a person names, by id or by a file that describes it; raises :class:`UnknownModelError`."""
    if model.lower().endswith(".json"):
        described = read_model(Path(model))
        return Guess(described.model_id, described, 1.0, f"described by {model}, named with --model")
    if model.startswith(PROVISIONAL):
        slug = _slug(model.removeprefix(PROVISIONAL))
        if not slug:
            raise RecordingError(f"--model {model}: give a name behind {PROVISIONAL}, such as {PROVISIONAL}my-arm")
        if slug in model_ids():
            raise RecordingError(f"--model {model}: {slug} is described; say --model {slug}, or give another name")
        return Guess(slug, None, 1.0, "named with --model: nobody has described it, limits are not known")
    try:
        return Guess(model, load_model(model), 1.0, "named with --model")
    except UnknownModelError as problem:
        raise UnknownModelError(f"{problem}; a robot nobody has described is --model {PROVISIONAL}{model}") from problem


def identify(hint: Hint, joints: Sequence[str], layout: Sequence[str] = ()) -> Guess:
    """The robot of a recording that says ``hint`` and names these joints, () where it names none.

    ``layout`` tells robots without names of joints apart: what each of their frames holds.
    """
    if declared := declared_model(hint):
        return Guess(declared, load_model(declared), 1.0, f"the recording is of a {hint.name or declared}")
    by_name = _by_hint(hint.name, joints)
    if by_name is not None:
        return by_name
    fitting = [model for model in map(load_model, model_ids()) if joints and known(model, joints) == len(joints)]
    if len(fitting) > 1:
        fitting = [m for m in fitting if set(joints) == {j.name for j in m.joints}] or fitting
    partly = [] if fitting else _by_dialect(joints)
    return _of(fitting or partly, joints, hint, layout)


def declared_model(hint: Hint) -> str:
    """The described model a recording says it is of; empty where it does not."""
    return hint.model or MODELS.get(hint.name, "") or ROBOT_TYPES.get(hint.name, "")


def known(model: RobotModel, joints: Iterable[str]) -> int:
    """How many of ``joints`` the model or one of its dialects names."""
    return sum(canonical(model, joint) is not None for joint in joints)


def named_somewhere(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that one described model has as joints, of the model that has most; () below two."""
    names = tuple(names)
    found = [tuple(name for name in names if canonical(model, name)) for model in map(load_model, model_ids())]
    most = max(found, key=len, default=())
    return most if len(most) > 1 else ()


def strange(model: RobotModel, joints: Iterable[str]) -> tuple[str, ...]:
    """Those of ``joints`` that are neither the model's nor named as a hand's or gripper's."""
    unknown = (joint for joint in joints if canonical(model, joint) is None)
    return tuple(joint for joint in unknown if not of_hand(joint))


def of_hand(joint: str) -> bool:
    """Whether it is named as a hand's or a gripper's joint."""
    return any(part in joint.lower() for part in _HAND)


@lru_cache(maxsize=10_000)  # every episode names the same
def canonical(model: RobotModel, name: str) -> str | None:
    """The model's own name of a joint, spaces and hyphens as underscores.

    A trailing ``.pos``, which some recorders write, is no part of a name.
    """
    plain = name.removesuffix(".pos")
    written = (name, plain, plain.replace(" ", "_").replace("-", "_"))
    return next((found for one in dict.fromkeys(written) if (found := model.canonical(one))), None)


def _by_hint(name: str, joints: Sequence[str]) -> Guess | None:
    """A described model whose id holds the robot's name; the recording names joints of it, and else only of hands."""
    words = _slug(name).removesuffix("-description")
    if len(words.replace("-", "")) < _SHORTEST:
        return None
    found = [load_model(m) for m in model_ids() if re.search(rf"(^|-){re.escape(words)}(-|$)", m)]
    fitting = [m for m in found if known(m, joints) and not strange(m, joints)]
    if len(fitting) != 1:
        return None
    why = f"the recording names its robot {name}; {known(fitting[0], joints)} of {len(joints)} joints are this model's"
    return Guess(fitting[0].model_id, fitting[0], 0.95, why)


def _by_dialect(joints: Sequence[str]) -> list[RobotModel]:
    """Models most of whose names are here: the others may be those of a hand."""
    models = list(map(load_model, model_ids()))
    models = [m for m in models if not strange(m, joints)]
    most = max((known(m, joints) for m in models), default=0)
    return [m for m in models if known(m, joints) == most] if 0 < len(joints) <= 2 * most else []


def _of(fitting: Sequence[RobotModel], joints: Sequence[str], hint: Hint, layout: Sequence[str]) -> Guess:
    ids = tuple(model.model_id for model in fitting)
    if len(ids) == 1 and ids[0] in FAMILIES:
        why = f"its joints are named as those of {ids[0]}, but so are those of {FAMILIES[ids[0]]}"
        return Guess(ids[0], fitting[0], 0.5, why, ids, hint.name)
    if len(ids) == 1 and (dialect := _shared(fitting[0], joints)):
        why = f"its joints are named as those of {ids[0]} by {dialect}, but so are those of other robots"
        return Guess(ids[0], fitting[0], 0.5, why, ids, hint.name)
    if len(ids) == 1 and all(COUNTED.fullmatch(joint) for joint in joints):
        why = f"its joints are named as those of {ids[0]}, but by numbers, as those of many robots are"
        return Guess(ids[0], fitting[0], 0.5, why, ids, hint.name)
    if len(ids) == 1 and known(fitting[0], joints) == len(joints):
        return Guess(ids[0], fitting[0], 0.9, f"all {len(joints)} joints are named as this model's and no other's")
    if ids:
        few = known(fitting[0], joints)
        why = f"{few} of {len(joints)} joints are named as those of {len(ids)} model{'s' * (len(ids) > 1)}"
        return Guess(ids[0], fitting[0], round(0.9 / (1 + len(ids)), 2), why, ids, hint.name)
    why = f"no described model names its joints so{_near(joints)}" if joints else "the recording names no joints"
    return Guess(provisional_id(hint.name, joints or layout), None, 0.0, f"{why}; limits are not known")


def _near(joints: Sequence[str]) -> str:
    """The models that name nearly all joints so, and what they do not: a name may be misspelt."""
    models = list(map(load_model, model_ids()))
    most = max(known(model, joints) for model in models)
    if all(map(COUNTED.fullmatch, joints)):  # a number more or less is no misspelling
        return ""
    if most < max(_NEARLY, len(joints) - max(1, len(joints) // 10)):
        return ""
    best = [model for model in models if known(model, joints) == most]
    others = dict.fromkeys(joint for joint in joints for model in best if canonical(model, joint) is None)
    return f" ({', '.join(model.model_id for model in best)} all but {', '.join(others)}: is that misspelt?)"


def _shared(model: RobotModel, joints: Iterable[str]) -> str:
    """The dialect of many robots by which alone the model is recognised; empty: by names of its own."""
    names = {joint.name for joint in model.joints}
    foreign = [joint.removesuffix(".pos") for joint in joints if joint.removesuffix(".pos") not in names]
    dialects = [d.name for d in model.dialects if d.name in SHARED and any(name in d.joints for name in foreign)]
    return dialects[0] if dialects else ""


def provisional_id(name: str, joints: Iterable[str]) -> str:
    """Of a robot nobody has described: its own name, if it says one, and 8 hex digits of SHA-256 over what it names.

    The same joints in another order are the same robot; robots of other joints never share an id.
    """
    digest = hashlib.sha256("\n".join(sorted(joints)).encode()).hexdigest()[:8]
    slug = _slug(name)[:_LONGEST].strip("-")
    return f"provisional-{slug}-{digest}" if slug else f"provisional-{digest}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
