"""``python -m kinestream.deploy.store``: arguments in, one process out; a StoreError is one line, never a traceback."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
from functools import partial
from pathlib import Path

from kinestream.deploy.store.server import quiet, serve
from kinestream.schemas.errors import KinestreamError
from kinestream.schemas.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run the store until it is told to stop; 1 with one line on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.store", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder that holds the data; one process owns it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=8123, help="0 = chosen by the system")
    parser.add_argument("--address-file", type=Path, help="file that gets the URL once requests are answered")
    parser.add_argument(
        "--keep-free", type=int, default=0, help="free bytes of the disk below which inserts are refused"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").addFilter(quiet)
    # A forked child of an open engine hangs: its threads are not there.
    multiprocessing.set_start_method("spawn")
    try:
        announce = partial(_announce, file=given.address_file)
        serve(given.path, given.host, given.port, Settings.from_env(), announce, given.keep_free)
    except KinestreamError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _announce(url: str, file: Path | None) -> None:
    if file is not None:
        # Written aside and renamed: whoever sees the file sees the whole address.
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.write_text(f"{url}\n", encoding="utf-8")
        draft.replace(file)
    print(f"listening on {url}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
