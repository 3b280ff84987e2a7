"""Processes that share the judging of files: in order, and never more of them than are needed, nor longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import active_children

import psutil
import pytest

from kinestream.deploy.bench.dataset import MODEL, write_dataset
from kinestream.deploy.judging.crew import processors, shared_out
from kinestream.deploy.local.process import wait_until
from kinestream.schemas.errors import ContractError, KinestreamError

PATIENCE_S = 30.0


def squared(number):
    return number * number, os.getpid()


def odd(number):
    if number % 2:
        raise ContractError(f"{number} is odd")
    return number


def killed(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_answers_come_in_the_order_of_the_tasks_from_as_many_processes_as_were_asked_for():
    answers = list(shared_out(squared, range(200), 3))
    assert [answer for answer, _ in answers] == [number * number for number in range(200)]
    others = {pid for _, pid in answers}
    assert os.getpid() not in others
    assert 1 <= len(others) <= 3
    assert not active_children()


def test_what_a_task_raises_is_raised_here_and_nobody_stays():
    answers = shared_out(odd, [0, 2, 5, 4, 6], 2)
    assert [next(answers), next(answers)] == [0, 2]
    with pytest.raises(ContractError, match="5 is odd"):
        next(answers)
    assert not active_children()


def test_a_process_that_is_killed_is_told_and_the_others_end():
    with pytest.raises(KinestreamError, match="--jobs 1"):
        list(shared_out(killed, range(100), 2))
    assert not active_children()


def test_who_stops_listening_ends_them():
    answers = shared_out(squared, range(1000), 2)
    next(answers)
    answers.close()
    assert not active_children()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "reaches"
    write_dataset(folder, 120)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are started anew and end by themselves")
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_ends_all_in_silence_and_nobody_outlives_a_killed_command(many, blow):
    code = "from kinestream.deploy.cli import main; main()"
    command = [sys.executable, "-c", code, "judge", str(many), "--model", MODEL, "--unit", "rad", "--jobs", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as judge:
        family = psutil.Process(judge.pid)
        assert wait_until(lambda: len(family.children()) == 2, PATIENCE_S, every_s=0.01)
        children = family.children()
        judge.send_signal(blow)
        _, told = judge.communicate(timeout=PATIENCE_S)
    assert (judge.returncode, told) == ((130, "") if blow == signal.SIGINT else (-signal.SIGKILL, ""))
    assert not psutil.wait_procs(children, PATIENCE_S)[1]


def test_there_is_a_processor():
    assert processors() >= 1
