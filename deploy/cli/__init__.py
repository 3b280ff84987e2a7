"""The command line: one module a command, each with ``register(app)``; heavy imports belong inside the commands.

Exit codes: 0 done, 2 an error that one line explains, 3 not healthy, 130 interrupted.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kinestream.schemas.errors import KinestreamError

#: Exit code of an error that one line explains, and of Ctrl-C (128 + SIGINT).
FAILED, INTERRUPTED = 2, 130


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command; our errors become one line, Ctrl-C nothing at all."""
        from kinestream.deploy.cli.output import complain

        try:
            return super().invoke(ctx)
        except KinestreamError as problem:
            if ctx.params["debug"]:
                raise
            complain(str(problem))
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def application(command: str = "") -> typer.Typer:
    """The application with every command of this folder; for a ``command`` with a module of its name, that alone.

    All of them together take as long to build as a short command runs.
    """
    app = typer.Typer(
        cls=_Commands,
        help="Motion data of robot fleets: from the robot through Kafka to judged episodes in ClickHouse.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def options(
        debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    ) -> None:
        pass

    names = [found.name for found in pkgutil.iter_modules(__path__)]
    for name in [command] if command in names else names:
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "register"):
            module.register(app)
    return app


def main() -> None:
    """Entry point of the command ``kinestream``."""
    from kinestream.streams import lean  # noqa: F401  (before any command loads numpy)

    application(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="kinestream")
