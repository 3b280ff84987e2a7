"""Owns the command ``bench faults``: the fault matrix as tables or one JSON document; it is run in deploy/bench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.deploy.bench.matrix import Caught, Matrix

#: Exit code: a fault was not caught, or a clean take was flagged.
NOT_WHOLE = 1
#: Milliseconds from the moment a fault can be known to a finding that can be queried, for 99 of 100.
GOAL_MS = 1000


def faults(
    seed: Annotated[int, typer.Option(min=0, help="Fixes motions, faults and their places.")] = 1,
    model: Annotated[list[str] | None, typer.Option(help="Robot model, repeatable (eight of them).")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Takes a fault and mode.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Every fault in one take of twenty and in all of twenty, through a local stack; exit code 1 when one is missed."""
    from kinestream.deploy.bench.faults import measure_faults
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.site import site
    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.deploy.topics import broker_kind
    from kinestream.producers.fleet.floor import MODELS
    from kinestream.producers.fleet.matrix import MatrixFloor
    from kinestream.schemas.settings import Settings

    models = list(model or MODELS)
    MatrixFloor(seed=seed, models=models, episodes=episodes)  # a model that will not do is told before a stack starts
    with working("running the fault matrix") as progress, site(Settings.from_env(), progress, workers=1) as place:
        found = measure_faults(place, seed, models, episodes, progress)
        broker = broker_kind(place.settings.kafka)
    if as_json:
        head = {"bench": "faults", **machine(), "broker": broker, "seed": seed, "models": models}
        emit_json({**head, "episodes": episodes, "goal_ms": GOAL_MS, **found.document()})
    else:
        _tell(found)
    if not found.whole:
        raise typer.Exit(NOT_WHOLE)


def _tell(found: Matrix) -> None:
    from kinestream.deploy.cli.output import say, table

    table(
        ("fault", "in one take", "ms", "in every take", "ms", "live", "found by"),
        [
            (name, *_cells(one), *_cells(all_), f"{one.live + all_.live} of {one.of + all_.of}", all_.metric)
            for (name, one), all_ in zip(found.single.items(), found.systemic.values(), strict=True)
        ],
    )
    say(f"in one take: {_count(found.single)} caught; in every take: {_count(found.systemic)} caught")
    say(f"{found.false_alarms} of {found.clean_episodes} clean takes were flagged")
    for one in found.false_alarm_list:
        say(f"  {one['episode_id']} ({one['model']}, {one['cell']}): {one['metric']} {one['joint']}: {one['message']}")
    p99 = found.latency_ms.p99
    reached = "reached" if p99 is not None and p99 < GOAL_MS else "NOT reached"
    say(f"from the moment a fault can be known to a finding that can be queried: p50 {found.latency_ms.p50} ms,")
    say(f"p99 {p99} ms over {found.latency_ms.samples} takes (goal: p99 below {GOAL_MS} ms, {reached})")


def _cells(one: Caught) -> tuple[str, str]:
    told = "caught" if one.caught else f"MISSED in {one.of - one.found} of {one.of}"
    return (
        told if one.right_joint is not False else f"{told}, WRONG JOINT",
        "" if one.delay_ms is None else f"{one.delay_ms:.0f}",
    )


def _count(mode: Mapping[str, Caught]) -> str:
    return f"{sum(one.caught for one in mode.values())} of {len(mode)}"
