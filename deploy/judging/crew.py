"""Tasks shared out to processes, answers in the order of the tasks; knows nothing of what is done, keeps no result."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context
from typing import Any, Final, TypeVar

from kinestream.schemas.errors import KinestreamError

Task = TypeVar("Task")
Answer = TypeVar("Answer")
#: Tasks a process may be ahead of the one whose answer is awaited: what is held of answers stays small.
_AHEAD: Final = 4


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_out(do: Callable[[Task], Answer], tasks: Sequence[Task], jobs: int) -> Iterator[Answer]:
    """``do`` of every task by at most ``jobs`` processes, in order; they end with the iterator, however it ends.

    On Linux they are forked: what is loaded need not be loaded again. What ``do`` raises is raised here; raises
    :class:`KinestreamError` where one of them ends before its work.
    """
    forked = sys.platform == "linux"
    context: Any = get_context("fork" if forked else "spawn")
    gc.freeze()  # a collector that walks what was loaded would copy every page of it
    pipes: list[Any] = []
    crew: list[Any] = []
    try:
        for _ in range(min(jobs, len(tasks))):
            mine, theirs = context.Pipe()
            pipes.append(mine)
            crew.append(context.Process(target=_work, args=(do, theirs, [*pipes] if forked else []), daemon=True))
            crew[-1].start()
            theirs.close()
        yield from _answers(tasks, pipes)
    finally:
        for process in crew:
            process.terminate()
        for process in crew:
            process.join()
        for pipe in pipes:
            pipe.close()
        gc.unfreeze()


def _answers(tasks: Sequence[Any], pipes: Sequence[Any]) -> Iterator[Any]:
    found: dict[int, Any] = {}
    given, wanted, idle = 0, 0, list(pipes)
    at_work: dict[Any, int] = {}
    while wanted < len(tasks):
        while idle and given < min(len(tasks), wanted + _AHEAD * len(pipes)):
            pipe = idle.pop()
            pipe.send(tasks[given])
            at_work[pipe] = given
            given += 1
        for pipe in connection.wait(list(at_work)):
            found[at_work.pop(pipe)] = _told(pipe)
            idle.append(pipe)
        while wanted in found:
            answer = found.pop(wanted)
            if isinstance(answer, BaseException):
                raise answer
            yield answer
            wanted += 1


def _told(pipe: Any) -> Any:
    try:
        return pipe.recv()
    except (EOFError, ConnectionError) as gone:
        raise KinestreamError(
            "a process that judges was ended from outside, as a system short of memory does: try again with --jobs 1"
        ) from gone


def _work(do: Callable[[Any], Any], pipe: Any, inherited: Sequence[Any]) -> None:
    """Until there is nobody to answer; Ctrl-C is the business of the process that shares out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # held here as well, they would keep a process waiting whose owner is gone
    for one in inherited:
        one.close()
    try:
        while True:
            task = pipe.recv()
            try:
                answer = do(task)
            except Exception as problem:
                answer = problem
            pipe.send(answer)
    except (EOFError, ConnectionError):
        return
