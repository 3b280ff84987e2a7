"""Measuring a process: only what it does while it runs free counts, and nothing of it outlives the measuring."""

import os
import signal
import subprocess
import sys
from collections import Counter

import psutil
import pytest

from kinestream.deploy.bench.contender import peak_rss_mb, started
from kinestream.deploy.local.process import wait_until
from kinestream.schemas.errors import StackError

#: Burns CPU to start, says so; for every line of ``orders`` burns 0.1 s of CPU and gives a verdict.
_WORKS = """
import pathlib, sys, time
def burn(seconds):
    begun = time.process_time()
    while time.process_time() - begun < seconds: pass
burn(0.5)
done = 0
while True:
    orders = pathlib.Path("orders").read_text().split()
    for order in orders[done:]:
        burn(0.1)
        with open("verdicts", "a") as out: out.write(order + "\\n")
    done = len(orders)
    time.sleep(0.02)
"""

#: Starts a contender, holds it still, says its pid, and waits to be killed.
_STARTS = """
import pathlib, signal, sys, time
from collections import Counter
from kinestream.deploy.bench.contender import started
with started("one", ["-c", "import time; time.sleep(300)"], {}, Counter, pathlib.Path(sys.argv[1])) as one:
    one._child.send_signal(signal.SIGSTOP)
    print(one._child.pid, flush=True)
    time.sleep(300)
"""


def order(folder, *verdicts):
    with (folder / "orders").open("a") as out:
        out.write("".join(f"{one}\n" for one in verdicts))


def verdicts_in(folder):
    written = folder / "verdicts"
    return lambda: Counter(written.read_text().split() if written.exists() else [])


@pytest.fixture
def contender(tmp_path):
    order(tmp_path, "ACCEPT", "ACCEPT")
    with started("one", ["-c", _WORKS], {}, verdicts_in(tmp_path), tmp_path) as one:
        yield one


def test_a_figure_holds_the_work_and_neither_start_nor_warm_up(contender, tmp_path):
    contender.warm_up(2)
    order(tmp_path, *["REJECT"] * 3, "ACCEPT")
    figure = contender.run(4, frames=1000)
    assert 0.35 <= figure.cpu_s <= 0.65  # four orders of 0.1 s; start and warm-up were 0.7 s more
    assert figure.verdicts == {"REJECT": 3, "ACCEPT": 1}
    assert figure.frames_per_cpu_s == pytest.approx(1000 / figure.cpu_s)
    assert figure.wall_s >= figure.cpu_s * 0.9
    assert figure.peak_rss_mb > 1


def test_a_contender_held_still_does_nothing(contender, tmp_path):
    contender.warm_up(2)
    before = contender.cpu_s()
    order(tmp_path, "ACCEPT")
    assert not wait_until(lambda: verdicts_in(tmp_path)().total() > 2, 0.5)
    assert contender.cpu_s() == before


def test_one_that_ends_early_is_told_with_its_last_words(tmp_path):
    command = ["-c", "print('no broker here'); raise SystemExit(3)"]
    with started("one", command, {}, Counter, tmp_path) as one, pytest.raises(StackError, match="no broker here"):
        one.warm_up(1)


def test_a_contender_sees_no_setting_but_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("KINESTREAM_HOME", "/somewhere")
    command = ["-c", "import os; print(sorted(n for n in os.environ if n.startswith('KINESTREAM_')))"]
    with started("one", command, {"KINESTREAM_GROUP": "g"}, Counter, tmp_path):
        assert wait_until(lambda: "GROUP" in (tmp_path / "one.log").read_text(), 20)
    assert (tmp_path / "one.log").read_text().strip() == "['KINESTREAM_GROUP']"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent's life")
def test_a_contender_held_still_dies_with_whoever_measures(tmp_path):
    command = [sys.executable, "-c", _STARTS, str(tmp_path)]
    measuring = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        pid = int(measuring.stdout.readline())
        assert psutil.pid_exists(pid)
    finally:
        measuring.send_signal(signal.SIGKILL)
        measuring.wait()
        measuring.stdout.close()

    def gone():
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    assert wait_until(gone, 10)


def test_peak_memory_is_at_least_what_is_resident_now():
    mine = psutil.Process(os.getpid())
    assert peak_rss_mb(mine) >= mine.memory_info().rss / 1e6 * 0.99
