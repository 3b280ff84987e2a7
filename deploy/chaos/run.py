"""A run of chaos from the start to the audit; what happens when is the plan's, what it means the audit's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from kinestream.deploy.chaos.acting import Actor
from kinestream.deploy.chaos.audit import Audit, Event, audit
from kinestream.deploy.chaos.exits import Exit, excused
from kinestream.deploy.chaos.framelog import read_log
from kinestream.deploy.chaos.justice import Limits
from kinestream.deploy.chaos.poison import Poisoner
from kinestream.deploy.chaos.promises import read_promises
from kinestream.deploy.chaos.readback import ReadBack
from kinestream.deploy.chaos.recovery import Watch
from kinestream.deploy.chaos.schedule import Site, plan
from kinestream.deploy.chaos.stage import Stage, staged
from kinestream.deploy.listening import Listener
from kinestream.deploy.local.stack import Progress
from kinestream.schemas.catalogue import FRAMES_DLQ, topic_name
from kinestream.schemas.errors import KinestreamError, StackError
from kinestream.schemas.settings import Settings
from kinestream.streams.dead_letters.form import letter_of

#: Robots of the floor, and frames a second of each.
ROBOTS: Final = 5
RATES: Final = (100.0, 50.0)
#: Seconds a kill takes of a run unless --minutes says otherwise.
KILL_S: Final = 20.0
#: Seconds the pipeline may take, after the last robot, until all is stored and announced.
SETTLE_S: Final = 90.0
_TICK_S: Final = 0.05
_PROGRESS: Final = "SELECT robot_id, max(last_offset) FROM frame_blocks GROUP BY robot_id"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for; ``minutes`` 0 = as long as the kills need."""

    kills: int
    minutes: float
    workers: int
    seed: int
    engine: str = "faust"


@dataclass(slots=True)
class Outcome:
    """A run's document."""

    broker: str
    workers: int
    engine: str
    seed: int
    kills: dict[str, int]
    pauses: int
    outages: int
    joins: int
    leaves: int
    poison: int
    dead_letters: int
    seconds: float
    max_recovery_s: float
    max_recovery_of: str
    audited: Audit
    #: processes that ended with an error of their own
    failures: list[str] = field(default_factory=list)
    #: brokers that gave up under what the plan did to them: no failure
    excused_exits: list[str] = field(default_factory=list)
    #: where logs and data are, if they were kept
    folder: str = ""

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled or untrue, and no robot gave up."""
        return self.audited.clean and not self.failures

    def document(self) -> dict[str, Any]:
        """One level, as the command prints it."""
        mine = asdict(self)
        return mine | mine.pop("audited")


def run(settings: Settings, wish: Wish, progress: Progress) -> Outcome:
    """Start, disturb, settle, audit, stop. Raises :class:`StackError` and what starting a stack raises."""
    with staged(settings, wish.workers, wish.engine, progress) as stage, _watched(stage) as (listener, watch):
        poisoner = Poisoner(stage.settings, wish.seed)
        actor = Actor(stage, poisoner, watch, wish.seed, progress)
        begun = time.monotonic()
        for number in range(ROBOTS):
            stage.add_robot(number + 1, wish.seed, RATES[number % len(RATES)])
        try:
            _disturb(stage, actor, wish)
        finally:
            actor.release()
        progress("the robots finish their takes")
        _finish_robots(stage, poisoner)
        progress("waiting until everything is stored and announced")
        _settle(stage, listener)
        watch.stop()
        progress("auditing")
        found = _audit(stage, listener)
        dead_letters = _dead_letters(stage)
        ends = {one: excused(one, actor.interferences) for one in stage.exits()}
        outcome = Outcome(
            broker=stage.broker,
            workers=wish.workers,
            engine=wish.engine,
            seed=wish.seed,
            kills={name: actor.kills[name] for name in ("worker", "store", "broker", "robot")},
            pauses=actor.done["pauses"],
            outages=actor.done["outages"],
            joins=actor.done["joins"],
            leaves=actor.done["leaves"],
            poison=poisoner.sent,
            dead_letters=dead_letters,
            seconds=round(time.monotonic() - begun, 1),
            max_recovery_s=round(watch.longest[0], 2),
            max_recovery_of=watch.longest[1],
            audited=found,
            failures=[
                *_told(one for one, had_reason in ends.items() if not had_reason),
                *stage.crew.failures(),
                *_unburied(stage.broker, wish.engine, poisoner.sent, dead_letters),
            ],
            excused_exits=_told(one for one, had_reason in ends.items() if had_reason),
        )
    return _tidied(stage, outcome)


@contextmanager
def _watched(stage: Stage) -> Iterator[tuple[Listener[Event], Watch]]:
    listener, reader = Listener(stage.settings, stage.services.kafka, Event.of), ReadBack(stage.settings)
    watch = Watch(lambda: {robot: int(mark) for robot, mark in reader.query(_PROGRESS)})
    with ExitStack() as stops:
        stops.callback(listener.stop)
        stops.callback(watch.stop)
        listener.start()
        watch.start()
        yield listener, watch


def _disturb(stage: Stage, actor: Actor, wish: Wish) -> None:
    site = Site(stage.broker == "kafka", wish.workers, stage.settings.session_s)
    acts = plan(wish.seed, wish.kills, wish.minutes * 60 or wish.kills * KILL_S, site)
    begun = time.monotonic()
    while acts or actor.busy:
        while acts and time.monotonic() - begun >= acts[0].at_s:
            actor.begin(acts.pop(0))
        actor.tick()
        stage.crew.tick()
        time.sleep(_TICK_S)


def _finish_robots(stage: Stage, poisoner: Poisoner) -> None:
    stage.rest()
    if not _until(lambda: stage.crew.gone("robot"), SETTLE_S, stage):
        raise StackError(f"the robots did not end within {SETTLE_S:g} s (logs: {stage.folder})")
    poisoner.flush(10)


def _settle(stage: Stage, listener: Listener[Event]) -> None:
    """Wait for what the audit will ask for; what is still missing after SETTLE_S, the audit counts."""
    reader, promises = ReadBack(stage.settings), read_promises(stage.promise_files())
    promised = {one.episode_id for one in promises.values() if one.promised}

    def settled() -> bool:
        try:
            revisions, in_flight = reader.revisions(), reader.in_flight()
        except (ClickHouseError, KinestreamError, OSError):
            return False
        announced = {event.ce_id for event in list(listener.events)}
        due = {f"{episode_id}/{revision}" for episode_id, revision in revisions.items()}
        return promised <= revisions.keys() and not in_flight & promises.keys() and due <= announced

    _until(settled, SETTLE_S, stage)


def _until(condition: Any, timeout_s: float, stage: Stage) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        stage.crew.tick()
        if time.monotonic() > deadline:
            return False
        time.sleep(4 * _TICK_S)
    return True


def _audit(stage: Stage, listener: Listener[Event]) -> Audit:
    settings = stage.settings
    limits = Limits(
        int(settings.incomplete_after_s * 1000), int(settings.silence_s * 1000), int(settings.superseded_after_s * 1000)
    )
    promises = read_promises(stage.promise_files())
    log = read_log(settings.kafka, settings.tenant)
    return audit(promises, ReadBack(settings).stored(), list(listener.events), log, limits)


def _told(ends: Iterable[Exit]) -> list[str]:
    counted = Counter((one.name, one.status) for one in ends)
    return [f"{name} ended with {status}, {n} times; see stack/logs" for (name, status), n in counted.items()]


def _dead_letters(stage: Stage) -> int:
    """Records that have one: a repeat after a crash counts once."""
    from kinestream.deploy.chaos.framelog import whole_topic

    topic = topic_name(FRAMES_DLQ, stage.settings.tenant)
    letters = (
        letter_of(message.partition(), message.offset(), message.key(), message.headers() or [])
        for message in whole_topic(stage.settings.kafka, topic)
    )
    return len({letter.source for letter in letters if letter})


def _unburied(broker: str, engine: str, poison: int, dead_letters: int) -> list[str]:
    """The test broker keeps the newest 5 MB of a partition: there nothing can be said."""
    if broker != "kafka" or engine != "faust" or dead_letters >= poison:
        return []
    return [f"{poison - dead_letters} of {poison} bad messages have no dead letter"]


def _tidied(stage: Stage, outcome: Outcome) -> Outcome:
    import shutil

    if outcome.clean:
        shutil.rmtree(stage.folder, ignore_errors=True)
    else:
        outcome.folder = str(stage.folder)
    return outcome
