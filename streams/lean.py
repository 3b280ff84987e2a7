"""What keeps a process small: imported first by the app, before anything loads pyarrow or numpy. Knows no data."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, Final

#: glibc's mallopt parameter for the number of memory arenas.
_M_ARENA_MAX: Final = -8
#: Seconds after which a thread that computes lets others on.
_SWITCH_S: Final = 0.001


class _NoPandas(MetaPathFinder):
    """pyarrow imports pandas where it is installed: 50 MB and 2 s for conversions nobody asks for."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("a worker does without pandas", name=name)


def few_arenas() -> None:
    """Let threads share memory arenas: each of its own keeps megabytes of rows that were sent long ago."""
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def one_blas_thread() -> None:
    """Products of a few hundred frames take microseconds on one thread; BLAS's several, which wait for each other by
    spinning, made them forty milliseconds on busy processors. What somebody chose stays. Before numpy is loaded.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def one_allocator() -> None:
    """Arrow's own gives pages back between two flushes, and the kernel clears them anew for the next."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def settle() -> None:
    """What is loaded by now stays: else the collector walks every module again and again while frames go by.

    And threads that have an answer of store or broker get their turn within a millisecond: with the default of five an
    insert beside a busy thread took 34 to 48 ms instead of 23 to 26.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    sys.setswitchinterval(_SWITCH_S)


def give_way(nice: int) -> None:
    """Every thread there is, and what they start, leaves the processors to processes of a lower nice value.

    Not at the process's start: on a busy machine its imports alone would take a minute.
    """
    threads = Path("/proc/self/task")
    # Linux keeps the value by thread; elsewhere it is the process's.
    for thread in map(int, os.listdir(threads)) if threads.exists() else (0,):
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))


sys.meta_path.insert(0, _NoPandas())
few_arenas()
one_blas_thread()
one_allocator()
