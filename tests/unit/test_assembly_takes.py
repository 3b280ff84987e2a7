"""What a closed episode files for others: itself, its values, its motion, its part in its task; and that it is gone."""

from __future__ import annotations

from collections import Counter

import pytest

from kinestream.streams.assembly.takes import take_key
from kinestream.streams.quality import Twins
from kinestream.streams.quality.tasks import BY_TASK, Task
from tests.assembling import JOINTS, Log, Owner, Take
from tests.unit.test_assembly_commands import command


class Filing(Owner):
    """An owner that keeps what is filed; ``twins`` is what every episode is said to repeat."""

    def __init__(self, twins: Twins | None = None) -> None:
        self.takes, self.twins = [], twins or Twins()
        super().__init__()

    def _close(self, episode_id: str) -> None:
        episode = self.assembler.episodes[episode_id]
        rows = self.store.rows(episode_id) if episode.dirty else None
        self.assembler.look(episode_id, rows)
        closed = self.assembler.seal(episode_id, rows, self.twins)
        self.takes += closed.takes if closed else []
        super()._close(episode_id)

    def filed(self) -> dict[tuple[int, int], object]:
        """Rows as the store keeps them: the newest of each key."""
        return {(row.bucket, row.take): row for row in sorted(self.takes, key=lambda row: row.revision)}


def closed(owner: Filing, take: Take) -> Log:
    log = Log()
    owner.feed(log.append(*take.whole()))
    return log


def grasping(skill: str = "grasp") -> int:
    return Task("hub", skill, "unitree-g1-29-dof", JOINTS).key


def test_a_take_is_filed_under_its_values_its_motion_and_its_task() -> None:
    owner, take = Filing(), Take()
    closed(owner, take)
    assert Counter(row.kind for row in owner.takes) == {"take": 1, "exact": 1, "near": 16, "task": 1}
    own = owner.takes[0]
    assert (own.bucket, own.take, own.episode_id) == (take_key(take.id), take_key(take.id), take.id)
    assert own.seconds == pytest.approx(2.99, abs=0.01)
    assert len(own.signature) == 64
    (task,) = [row for row in owner.takes if row.kind == "task"]
    assert (task.bucket, task.seconds) == (grasping(), own.seconds)
    assert set(task.metrics) <= set(BY_TASK)
    assert task.start_pose.tolist() == take.values["position"][0].tolist()
    assert task.end_pose.tolist() == take.values["position"][-1].tolist()


@pytest.mark.parametrize(
    ("twins", "kinds"),
    [
        (Twins("other"), {}),
        (Twins("", "other", 0.99995), {"take": 1, "exact": 1, "task": 1}),
        (Twins("", "other", 0.996), {"take": 1, "exact": 1, "near": 16, "task": 1}),
    ],
)
def test_a_take_that_another_stands_for_is_filed_less(twins: Twins, kinds: dict[str, int]) -> None:
    owner = Filing(twins)
    closed(owner, Take())
    assert Counter(row.kind for row in owner.takes) == kinds


def test_what_is_closed_again_replaces_its_rows() -> None:
    owner, take = Filing(), Take()
    whole, log = take.whole(), Log()
    owner.feed(log.append(*whole[:5], *whole[6:]))
    owner.pass_ms(owner.limits.incomplete_ms)
    assert not any(row.kind == "task" for row in owner.takes), "an incomplete take tells nothing of its task"
    owner.feed(log.append(whole[5]))
    rows = owner.filed()
    assert rows[take_key(take.id), take_key(take.id)].revision == 2
    assert rows[grasping(), take_key(take.id)].revision == 2


def test_a_take_that_is_relabelled_leaves_its_task_and_one_that_is_withdrawn_leaves_all() -> None:
    owner, take = Filing(), Take()
    log = closed(owner, take)
    commands, own = Log(now_ms=log.now_ms), take_key(take.id)
    owner.command(*commands.append(command(take, "CORRECT", labels={"skill": "pour"})))
    assert owner.filed()[grasping(), own].gone
    assert not owner.filed()[grasping("pour"), own].gone
    owner.command(*commands.append(command(take, "WITHDRAW", command_id="c2")))
    rows = owner.filed()
    assert rows[own, own].gone
    assert len(rows[own, own].signature) == 0, "nothing of its motion is left in its own row"
    assert rows[grasping("pour"), own].gone
