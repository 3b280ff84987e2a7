"""Owns the commands ``robots ...``, in the user's words; reading descriptions is in producers/descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kinestream.deploy.robot_models import KnownModel
    from kinestream.schemas.models import RobotModel

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
#: Exit code of `diff` where there is a difference.
DIFFERENT = 1


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Robot models: joints and limits that episodes are judged by (docs/robots.md).", no_args_is_help=True
    )
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("import")(import_file)
    group.command("diff")(diff)
    group.command("register")(register_file)
    app.add_typer(group, name="robots")


def list_models(
    maker: Annotated[str, typer.Option(help="Only those whose maker's name holds this.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Only what this version describes; ask nobody.")] = False,
    as_json: AsJson = False,
) -> None:
    """List described and registered models, and provisional ones: sent by robots, described by nobody."""
    import sys

    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.deploy.robot_models import known_models

    found, silent = known_models(offline=offline)
    found = [one for one in found if maker.lower() in one.maker.lower()]
    for text in silent:
        print(f"note: not all is shown: {text}", file=sys.stderr)
    if as_json:
        emit_json(found)
        return
    table(_COLUMNS, [_cells(one) for one in found])
    _say(*(f"{_short(one.model_id)} is {one.model_id}" for one in found if _short(one.model_id) != one.model_id))
    for one in found:
        if one.state == "provisional":
            say("")
            _say(*_told_provisional(one))
    counts = {state: sum(one.state == state for one in found) for state in ("described", "registered", "provisional")}
    say("\n" + ", ".join(f"{count} {state}" for state, count in counts.items()))
    if counts["provisional"]:
        _say(
            "provisional: frames are kept, but nothing that needs limits is judged;"
            " `kinestream robots register FILE --by NAME`"
        )


def show(
    model: Annotated[str, typer.Argument(metavar="ID|FILE", help="A model's id, or a file that describes one.")],
    as_json: AsJson = False,
) -> None:
    """Show a model: its joints in order, their limits, other names of them, where it was read."""
    from kinestream.deploy.cli.output import emit_json, table
    from kinestream.deploy.robot_models import model_named, provisional_named
    from kinestream.schemas.errors import UnknownModelError
    from kinestream.schemas.model_files import content_of

    try:
        found = model_named(model)
    except UnknownModelError:
        one = provisional_named(model)
        if one is None:
            raise
        if as_json:
            emit_json(one)
            return
        _say(*_told_provisional(one), *_told_joints(one))
        return
    if as_json:
        emit_json({"version": found.version, **content_of(found)})
        return
    _say(f"{found.version}: {found.maker} {found.model}, {found.category}, {len(found.joint_names)} joints driven")
    source = found.source
    _say(f"read from {source.repo} {source.commit} {source.path} ({source.licence})")
    table(("joint", "type", "lower", "upper", "velocity", "effort", "follows"), _rows(found), _WIDTH)
    _say("in rad, rad/s and Nm; prismatic joints in m, m/s and N; - = unknown")
    _say(*_unknown(found))
    for dialect in found.dialects:
        _say(f"also called, by {dialect.name}: {', '.join(f'{name} = {own}' for name, own in dialect.joints.items())}")
    _say(*(f"note: {note}" for note in found.notes))


def import_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A URDF, or an MJCF.")],
    maker: Annotated[str, typer.Option(help="Who makes the robot.")] = "",
    model: Annotated[str, typer.Option(help="What its maker calls it; default: the name in the file.")] = "",
    category: Annotated[str, typer.Option(help="humanoid, arm, hand, ...")] = "",
    model_id: Annotated[str, typer.Option("--id", help="Its id; default: made of maker and model.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the file.")] = "",
    keep_turns: Annotated[
        bool, typer.Option("--keep-turns", help="Its maker documents half or whole turns: keep them as limits.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the draft here; default: print it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a draft of a description from a URDF or MJCF, for a person to review; limits nobody meant become unknown."""
    import sys

    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.producers.descriptions import Labels, import_description
    from kinestream.schemas.model_files import content_of, text_of

    labels = Labels(maker, model, category, model_id, licence)
    draft = import_description(path, labels, keep_turns=keep_turns)
    if out is not None:
        _write(out, text_of(draft.model))
    if as_json:
        emit_json({"format": draft.format, "version": draft.model.version, "model": content_of(draft.model)})
        return
    if out is None:
        say(text_of(draft.model).rstrip())
    for note in draft.model.notes:
        print(f"note: {note}", file=sys.stderr)
    if out is not None:
        say(f"{draft.format}: {len(draft.model.joint_names)} joints driven -> {out}")
        say(f"next: compare it with the maker's data sheet, then `kinestream robots register {out} --by NAME`")


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A model's id, or a file that describes one.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two descriptions; exit code 0 where nothing does, 1 where something does."""
    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.deploy.robot_models import model_named
    from kinestream.producers.descriptions.differences import differences

    found = differences(model_named(first), model_named(second))
    if as_json:
        emit_json(found)
    elif found:
        rows = [(d.joint, d.field, _text(d.first), _text(d.second)) for d in found]
        table(("joint", "what", first, second), rows, _WIDTH)
    else:
        say("no difference")
    if found:
        raise typer.Exit(DIFFERENT)


def register_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A reviewed description (docs/robots.md).")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who registers it (a pseudonym).")],
    as_json: AsJson = False,
) -> None:
    """Register a description: takes that begin from now on are judged by it, those before keep theirs."""
    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.deploy.topics import ensure_topics
    from kinestream.producers.descriptions.registering import register as send
    from kinestream.schemas.model_files import read_model
    from kinestream.schemas.models import find_model
    from kinestream.schemas.settings import Settings
    from kinestream.streams.command_sender import check_by

    settings, model, by = Settings.from_env(), read_model(path), check_by(by)
    kafka = broker_address(settings)
    ensure_topics(kafka, settings.tenant, access=settings.kafka_access())
    version = send(model, settings, kafka, by)
    shipped = find_model(model.model_id)
    if as_json:
        emit_json({"model_id": model.model_id, "version": version, "replaces": shipped.version if shipped else None})
        return
    say(f"registered {version}: takes of {model.model_id} that begin from now on are judged by it")
    if shipped is not None:
        say(f"it stands over what this version describes ({shipped.version})")


_COLUMNS = ("model", "state", "joints", "limits", "velocity", "effort")
#: Columns of a terminal that every line fits, and of those an id has.
_WIDTH = 100
_ID_WIDTH = 53


def _cells(one: KnownModel) -> tuple[str, ...]:
    known = [f"{one.known[limit]}/{one.joints}" if one.known else "-" for limit in ("position", "velocity", "effort")]
    return (_short(one.model_id), one.state, str(one.joints), *known)


def _short(model_id: str) -> str:
    """An id as it fits a column; the whole of a longer one is told below the table."""
    return model_id if len(model_id) <= _ID_WIDTH else f"{model_id[: _ID_WIDTH - 1]}…"


def _say(*lines: str) -> None:
    """Each line on as many of the terminal's as it needs."""
    from textwrap import wrap

    from kinestream.deploy.cli.output import say

    for line in lines:
        for part in wrap(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False):
            say(part)


def _unknown(model: RobotModel) -> list[str]:
    """Which limits nobody knows, and what is not judged for lack of them."""
    from kinestream.schemas.lacking import lacking, limit_of

    driven, groups = (
        [joint for joint in model.joints if not joint.mimic],
        dict[tuple[str, tuple[str, ...]], list[str]](),
    )
    for metric, names in lacking(model).items():
        groups.setdefault((limit_of(metric), names), []).append(metric)
    return [
        f"not judged for lack of {limit} limits: {', '.join(metrics)} of"
        f" {'every joint' if len(names) == len(driven) else ', '.join(names)}"
        for (limit, names), metrics in groups.items()
    ]


def _rows(model: RobotModel) -> list[tuple[str, ...]]:
    return [
        (j.name, j.type, *(_text(x) for x in (j.lower, j.upper, j.velocity, j.effort)), j.mimic or "-")
        for j in model.joints
    ]


def _told_provisional(one: KnownModel) -> list[str]:
    other = [metric for metric in one.not_evaluated if metric not in one.lack_limits]
    return [
        f"{one.model_id}: provisional, nobody has described it; {one.robots} robots sent {one.episodes} episodes",
        f"  not judged for lack of limits, in its newest episode: {', '.join(one.lack_limits) or 'nothing'}",
        f"  not judged for other reasons, which a description would not change: {', '.join(other) or 'nothing'}",
    ]


def _told_joints(one: KnownModel) -> list[str]:
    return [
        f"joints {', '.join(one.joint_names)}",
        "describe it: `kinestream robots import FILE.urdf`, review, `kinestream robots register FILE --by NAME`",
    ]


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _write(path: Path, text: str) -> None:
    from kinestream.schemas.errors import ModelError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ModelError(f"{path} cannot be written: {problem.strerror or problem}") from problem
