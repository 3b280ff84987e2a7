"""Members of a group join, leave, die, stop and stall: every partition has one owner again, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kinestream.deploy.local import process
from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.schemas.errors import BrokerError
from tests.plugins.broker import Broker
from tests.plugins.members import Members


def moves(members: Members, name: str, since: float) -> dict[str, int]:
    """How many partitions a member was given and had taken away since a moment."""
    return {
        kind: sum(len(one["partitions"]) for one in members.said(name, kind) if one["at"] > since)
        for kind in ("assigned", "revoked")
    }


def test_members_come_and_go_and_only_what_must_move_moves(members: Members) -> None:
    members.session_s = 20.0  # none ends here; a start takes seconds on a machine with much to do
    members.send(20)
    members.start("a")
    members.start("b")
    members.wait_for(lambda: members.shares("a", "b") == [4, 4])
    members.send(20)
    joined = time.monotonic()
    members.start("c")
    members.wait_for(lambda: sorted(members.shares("a", "b", "c")) == [2, 3, 3])
    for name in ("a", "b"):
        assert moves(members, name, joined)["revoked"] <= 2
        assert moves(members, name, joined)["assigned"] == 0, "what stays is not taken away and given back"

    # Killed and started again within its session: nobody else notices.
    kept, killed = members.owned("c"), time.monotonic()
    members.kill("c")
    members.send(20)
    members.start("c")
    members.wait_for(lambda: members.last("c")["at"] > killed and members.owned("c") == kept)
    assert time.monotonic() - killed < members.session_s, "a static member is back before anybody misses it"
    assert moves(members, "a", killed) == moves(members, "b", killed) == {"assigned": 0, "revoked": 0}

    members.wait_for(members.all_handed)
    members.wait_for(lambda: members.committed() == members.sent)


def test_a_second_process_with_a_living_members_id_is_refused_before_it_disturbs(members: Members) -> None:
    members.send(5)
    members.start("a")
    members.wait_for(lambda: len(members.owned("a")) == 8)
    started = time.monotonic()
    second = members.start("second", member_id="a")
    assert second.wait(20) == 70
    said = [line for line in members.log("second").splitlines() if "ended:" in line]
    assert len(said) == 1
    assert "already member 'a'" in said[0]
    assert "KINESTREAM_INSTANCE_ID" in said[0]
    members.send(5)
    members.wait_for(members.all_handed)
    assert moves(members, "a", started) == {"assigned": 0, "revoked": 0}
    # Left in order or killed, the id is free at once, for nothing moves its marks any more.
    members.signal("a", signal.SIGTERM)
    assert members.running["a"].wait(10) == 0
    members.start("second", member_id="a")
    members.wait_for(lambda: len(members.owned("second")) == 8)
    members.kill("second")
    members.start("third", member_id="a")
    members.wait_for(lambda: len(members.owned("third")) == 8)


def test_a_member_whose_id_was_taken_over_while_it_was_stopped_ends_and_says_why(members: Members) -> None:
    members.send(5)
    first = members.start("first", member_id="a")
    members.wait_for(lambda: len(members.owned("first")) == 8)
    members.signal("first", signal.SIGSTOP)
    members.start("second", member_id="a")
    members.wait_for(lambda: len(members.owned("second")) == 8)
    words = len(members.said("first", "owns"))
    members.signal("first", signal.SIGCONT)
    assert first.wait(20) == 70
    assert members.log("first").count("give every worker a") == 1
    assert not any(one["owned"] for one in members.said("first", "owns")[words + 1 :])
    members.send(5)
    members.wait_for(members.all_handed)


def test_a_member_stopped_past_its_session_knows_at_once_that_it_owns_nothing(members: Members) -> None:
    members.send(20)
    members.start("a")
    members.start("b")
    members.wait_for(lambda: members.shares("a", "b") == [4, 4])
    members.signal("a", signal.SIGSTOP)
    members.wait_for(lambda: len(members.owned("b")) == 8, 20)
    members.send(20)
    members.wait_for(members.all_handed)
    words, woken = len(members.said("a", "owns")), time.monotonic()
    members.signal("a", signal.SIGCONT)
    members.wait_for(lambda: members.shares("a", "b") == [4, 4])
    after = members.said("a", "owns")[words:]
    first_owned = next(one["at"] for one in after if one["owned"])
    given = next(one["at"] for one in members.said("a", "assigned") if one["at"] > woken)
    assert first_owned > given, "it claimed partitions before the group had given it any again"
    members.send(20)
    members.wait_for(members.all_handed)
    # Killed for good: the other has its partitions when its session is over.
    members.kill("b")
    members.wait_for(lambda: len(members.owned("a")) == 8)
    members.send(20)
    members.wait_for(members.all_handed)


def test_a_member_that_takes_nothing_for_longer_than_the_poll_interval_stays_and_holds_little(members: Members) -> None:
    members.max_poll_s = 6.0
    members.send(1)
    members.start("a")
    members.wait_for(lambda: len(members.owned("a")) == 8 and members.all_handed())
    members.stall("a").touch()
    members.send(400, b"x" * 20_000)
    stalled = time.monotonic()
    members.wait_for(lambda: members.last("a")["lag"] > 1000)
    members.wait_for(lambda: time.monotonic() > stalled + 8.0)
    words = [one for one in members.said("a", "owns") if one["at"] > stalled]
    assert max(one["waiting_bytes"] for one in words) < 24e6, "64 MB lie on the log"
    assert all(len(one["owned"]) == 8 for one in words), "the group went on confirming it"
    seen = members.last("a")["lag"]
    members.send(10)
    members.wait_for(lambda: members.last("a")["lag"] == seen + 80)
    members.stall("a").unlink()
    members.wait_for(members.all_handed)
    assert all(len(offsets) == len(set(offsets)) for offsets in members.handed().values()), "read once, in order"
    assert moves(members, "a", stalled) == {"assigned": 0, "revoked": 0}
    members.wait_for(lambda: members.committed() == members.sent)


@pytest.mark.kafka
def test_a_broker_killed_and_started_again_is_read_on_by_itself_and_the_log_stays_quiet(tmp_path: Path) -> None:
    with own_kafka(tmp_path / "broker") as (broker, restart):
        members = Members(broker, tmp_path)
        members.send(20)
        try:
            members.start("a")
            members.wait_for(lambda: members.all_handed() and len(members.owned("a")) == 8)
            restart()
            members.send(20)
            members.wait_for(members.all_handed, 60)
            members.wait_for(lambda: members.committed() == members.sent)
            members.wait_for(lambda: len(members.owned("a")) == 8)
            said = [line for line in members.log("a").splitlines() if line.startswith("[20")]
            assert 1 <= len(said) <= 6, said
        finally:
            members.kill("a")


@contextmanager
def own_kafka(folder: Path) -> Iterator[tuple[Broker, Callable[[], None]]]:
    """A broker of the test's own, and how to kill -9 and restart it."""
    port = process.free_port()
    bootstrap = f"127.0.0.1:{port}"
    arguments = [
        sys.executable,
        "-m",
        "kinestream.deploy.local.kafka",
        "--home",
        str(folder),
        "--port",
        str(port),
        "--brief",
    ]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        running.append(process.spawn(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert process.wait_until(lambda: answers(bootstrap), 90), "the broker did not start"

    def restart() -> None:
        running[-1].kill()
        running[-1].wait()
        start()

    try:
        start()
        ensure_topics(bootstrap, "own")
        yield Broker("kafka", bootstrap, "own"), restart
    finally:
        process.stop(running[-1])


def answers(bootstrap: str) -> bool:
    try:
        broker_kind(bootstrap, timeout_s=0.3)
    except BrokerError:
        return False
    return True
