"""Owns the command ``publish``, in the user's words; the work is in producers/publish.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.producers.publish import Progress, PublishReport
    from kinestream.producers.recordings import Choices
    from kinestream.schemas.settings import Settings


ModelOption = Annotated[
    str, typer.Option(help="Robot model where the recording does not say it: an id, a FILE.json, or provisional:NAME.")
]
JointsOption = Annotated[
    str, typer.Option(help="Names of columns the recording does not name, A,B,C in order; model = as the model's.")
]
RateOption = Annotated[float, typer.Option(help="Frames a second, where the recording holds no time.")]
UnitOption = Annotated[
    str, typer.Option(help="rad, deg or own (kept as it is), where nobody declares the joints' unit.")
]
TopicOption = Annotated[str, typer.Option(help="Topic of the joint states, where a bag has several.")]
CalibrationOption = Annotated[
    Path | None, typer.Option(help="YAML that maps the robot's own units to radians (docs/formats.md).")
]
SplitOption = Annotated[float, typer.Option(help="A gap of so many seconds begins another episode: bags, CSV, npz.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(publish)


def publish(
    paths: Annotated[
        list[Path], typer.Argument(help="Recordings (docs/formats.md); `kinestream inspect PATH` shows one.")
    ],
    model: ModelOption = "",
    joints: JointsOption = "",
    rate: RateOption = 0.0,
    unit: UnitOption = "",
    topic: TopicOption = "",
    split: SplitOption = 0.0,
    calibration: CalibrationOption = None,
    skill: Annotated[str, typer.Option(help="Skill id of every episode (schemas/skills.yaml).")] = "",
    area: Annotated[str, typer.Option(help="Application area id of every episode.")] = "",
    robot: Annotated[str, typer.Option(help="Robot id to publish as; default replay-<model>-1.")] = "",
    speed: Annotated[str, typer.Option(help="max, or a multiple of real time such as 1 or 2.5.")] = "max",
    keep_time: Annotated[
        bool, typer.Option("--keep-time", help="Keep the recorded stamps; default: begin now.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Replay recordings through the robot SDK; returns when the broker has acknowledged everything."""
    from kinestream.producers.publish import publish as replay
    from kinestream.producers.recordings import open_recording
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    choices = choices_of(model, joints, rate, unit, topic, split, calibration)
    for path in paths:  # a path that cannot be read is told before a broker that is away
        open_recording(path, choices=choices)
    kafka = broker_for(settings)
    with _progress_bar() as on_progress:
        report = replay(
            paths,
            choices=choices,
            skill=skill,
            area=area,
            robot=robot,
            speed=speed,
            keep_time=keep_time,
            settings=settings,
            kafka=kafka,
            on_progress=on_progress,
        )
    report.notes += _unlisted(skill, area)
    _tell(report, as_json)


def choices_of(
    model: str, joints: str, rate: float, unit: str, topic: str, split: float, calibration: Path | None = None
) -> Choices:
    """What the options say of a recording; a model's id means what is registered under it, where somebody did.

    Raises :class:`ContractError` for a unit that is none, :class:`UnknownModelError` for an id nobody has described.
    """
    from kinestream.deploy.robot_models import registered_named
    from kinestream.producers.recordings import Choices
    from kinestream.schemas.errors import ContractError

    if unit not in ("", "rad", "deg", "own"):
        raise ContractError(
            f"--unit {unit}: allowed are rad, deg and own; leave it out where the recording declares it"
        )
    if model == "provisional:NAME" or joints == "A,B,C":
        raise ContractError(
            "--model provisional:NAME and --joints A,B,C are as `inspect` shows them, to be filled in: put the robot's"
            " name for NAME, and its joints' names in the order of the columns for A,B,C"
        )
    names = tuple(name.strip() for name in joints.split(",")) if joints else ()
    if unit and calibration:
        raise ContractError(f"--unit {unit} and --calibration {calibration}: give one of them, for they say the same")
    described = registered_named(model)
    return Choices(model, names, rate, unit, topic, split, str(calibration) if calibration else "", described)


def broker_for(settings: Settings) -> str:
    """A broker that has the tenant's topics; raises :class:`SettingError` where none is named."""
    from kinestream.deploy.local.stack import Stack
    from kinestream.deploy.topics import ensure_topics
    from kinestream.schemas.errors import SettingError

    kafka = Stack(settings).where().kafka
    if not kafka:
        raise SettingError("no broker: run `kinestream up`, or set KINESTREAM_KAFKA to one that runs")
    ensure_topics(kafka, settings.tenant, access=settings.kafka_access())
    return kafka


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} frames"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("publishing", total=None)
        yield lambda at: bar.update(task, total=at.frames_total, completed=at.frames, description=Path(at.source).stem)


def _unlisted(skill: str, area: str) -> list[str]:
    from kinestream.schemas.skills import load_skills

    known = load_skills()
    listed = (("skill", skill, known.skill(skill)), ("area", area, known.area(area)))
    return [
        f"{what} {given!r} is not listed (schemas/skills.yaml); it was published as it is"
        for what, given, term in listed
        if given and term is None
    ]


def _tell(report: PublishReport, as_json: bool) -> None:
    """The result on stdout; what is odd on stderr, where it is seen also when the result goes into a file."""
    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.producers.publish import odd

    for oddity in report.oddities:
        print(odd(oddity), file=sys.stderr)
    if as_json:
        emit_json(report.to_json())
        return
    for line in _told(report):
        say(line)


def _told(report: PublishReport) -> list[str]:
    size = f"{report.bytes / 1e6:.1f} MB" if report.bytes >= 1e6 else f"{report.bytes / 1e3:.1f} kB"
    return [
        f"published {len(report.episodes)} episodes, {report.frames:,} frames, {size} in {report.seconds:.1f} s",
        *(f"note: {note}" for note in report.notes),
        "next: `kinestream episodes` lists what was judged; `kinestream subscribe --from-start` shows the events",
    ]
