"""What a run of chaos happens on: a stack, robots and further workers of its own; it kills nothing by itself."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from kinestream.deploy.chaos.crew import Crew
from kinestream.deploy.chaos.exits import Exit, read_exits
from kinestream.deploy.local.ports import Remembered, worker_names
from kinestream.deploy.local.process import free_port
from kinestream.deploy.local.services import Services
from kinestream.deploy.local.stack import Progress, Stack
from kinestream.deploy.local.supervise import Supervisor
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import PREFIX, Settings

#: Engines that run the same core: the Faust app, and the bare loop of bench/ (in the repository only).
FAUST: Final = ("-m", "faust", "-A", "kinestream.streams.app", "worker")
BARE: Final = (str(Path(__file__).resolve().parents[2] / "bench" / "bare_loop.py"),)
ENGINES: Final = {"faust": FAUST, "bare": BARE}
#: Settings that belong to the person's own stack.
_NOT_OURS: Final = ("kafka", "clickhouse", "registry", "kafka_port", "registry_port", "store_port", "worker_port",
              "kafka_security")  # fmt: skip
#: Seconds after which an episode whose robot died times out: 60 by default, for which nobody wants to wait.
_SILENCE_S: Final = 8.0
#: Session of a group that cannot know a member again (the test broker), s.
_SHORT_SESSION_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stack without robots; ``settings`` say where everything is."""

    settings: Settings
    stack: Stack
    services: Services
    broker: str
    engine: str
    crew: Crew
    folder: Path

    def supervisor(self) -> Supervisor:
        """The supervisor of the stack's services."""
        home = self.stack.home
        return Supervisor(home, Remembered.load(home).socket)

    def workers(self) -> list[str]:
        """Workers that should be running: the stack's, and those that joined."""
        memory = Remembered.load(self.stack.home)
        own = worker_names(memory.workers, bulk=memory.bulk)
        return [*own, *self.crew.names("worker")]

    def pid(self, name: str) -> int:
        """Process id of a service, worker or robot; 0 = it does not run now."""
        return self.crew.pid(name) or self.supervisor().state(name)[1]

    def add_worker(self, name: str) -> None:
        """One more member of the group."""
        mine = replace(self.settings, worker_port=free_port(), instance_id=f"{self.settings.group}-{name}")
        self.crew.add(name, ENGINES[self.engine], environment(mine), self.folder / "logs" / f"{name}.log")

    def add_robot(self, number: int, seed: int, rate_hz: float) -> None:
        """A robot process; it works until :meth:`rest`."""
        name = f"robot-{number}"
        mine = replace(self.settings, home=self.folder / name)
        mine.home.mkdir(exist_ok=True)
        command = ["-m", "kinestream.deploy.chaos.robot", "--robot-id", name, "--seed", str(seed)]
        command += ["--rate", str(rate_hz), "--promises", str(self.promise_file(name)), "--until", str(self._rest)]
        self.crew.add(name, command, environment(mine), self.folder / "logs" / f"{name}.log")

    @property
    def _rest(self) -> Path:
        return self.folder / "rest"

    def rest(self) -> None:
        """Every robot ends once its take is done and delivered, also one that is killed meanwhile."""
        self._rest.touch()

    def exits(self) -> list[Exit]:
        """Services that ended by themselves with an error, also those that had a reason."""
        return read_exits((self.stack.home / "logs" / "supervisord.log").read_text(errors="replace"))

    def promise_file(self, robot: str) -> Path:
        """Where that robot writes down what it promises."""
        return self.folder / f"{robot}.promises"

    def promise_files(self) -> list[Path]:
        """Of every robot so far."""
        return sorted(self.folder.glob("*.promises"))


@contextmanager
def staged(settings: Settings, workers: int, engine: str, progress: Progress) -> Iterator[Stage]:
    """A stack of its own in a temporary folder, which stays when the block raises or marks it ``keep``."""
    if engine == "bare" and not Path(BARE[0]).exists():
        raise StackError(f"the bare loop is not at hand: {BARE[0]} is in the repository only")
    folder = Path(tempfile.mkdtemp(prefix="kinestream-chaos-"))
    (folder / "logs").mkdir()
    mine = own_settings(settings, folder)
    _claim_ports(mine, workers)
    stack, crew = Stack(mine), Crew()
    try:
        services = stack.up(progress, workers if engine == "faust" else 0, foreground=True)
        where = {one: getattr(services, one) for one in ("kafka", "registry", "clickhouse")}
        stage = Stage(replace(mine, **where), stack, services, stack.broker(), engine, crew, folder)
        if engine != "faust":
            for number in range(workers):
                stage.add_worker(f"worker-bare-{number}")
        yield stage
    finally:
        crew.stop()
        stack.down()


def own_settings(settings: Settings, folder: Path) -> Settings:
    """A tenant and a home nobody has, the default services, and deadlines that a run can wait for."""
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    usual = {one: getattr(Settings(), one) for one in (*_NOT_OURS, "instance_id")}
    # Without static members a killed worker is missed only when its session ends.
    session = _SHORT_SESSION_S if settings.broker == "test" else Settings().session_s
    mine = replace(settings, home=folder / "stack", tenant=name, group=name, silence_s=_SILENCE_S, session_s=session)
    return replace(mine, spool=str(folder / "spool"), **usual)


def _claim_ports(settings: Settings, workers: int) -> None:
    """Ports by the system: those that ``up`` prefers are for a person's own stack."""
    settings.home.mkdir()
    names = ("broker", "inside", "registry", "store", *worker_names(workers, bulk=True))
    kind = "test" if settings.broker == "test" else "kafka"  # ports of another kind would be forgotten
    Remembered(broker=kind, ports={name: free_port() for name in names}).save(settings.home)


def environment(settings: Settings) -> dict[str, str]:
    """The settings as KINESTREAM_* variables."""
    return {PREFIX + one.name.upper(): str(getattr(settings, one.name)) for one in fields(settings)}
