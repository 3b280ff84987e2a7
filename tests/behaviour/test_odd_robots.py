"""Robots that send no marks, and two under one name, on a real log, over a kill -9: each frame is in one episode."""

from __future__ import annotations

from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.sending import RawSender

COUNTS = "SELECT episode_id, status, frames, revision FROM episodes FINAL ORDER BY started_at"


def test_a_stream_without_marks_is_cut_at_its_pauses_though_the_worker_dies_in_one(test_pipeline: Pipeline) -> None:
    pipeline = test_pipeline
    pipeline.extra = {"KINESTREAM_CUT_AFTER_S": "2"}
    pipeline.start()
    stream, sender = Take(frames=500, robot="r2"), RawSender(pipeline.broker)

    def closed() -> list[int]:
        return [frames for _, _, frames, _ in pipeline.query(COUNTS)]

    sender.send(stream.start(marks=False), stream.chunk(0, 150), robot="r2")
    pipeline.wait_for(lambda: closed() == [150])
    sender.send(stream.chunk(150, 200), robot="r2")
    pipeline.wait_for(lambda: len(pipeline.query("SELECT DISTINCT episode_id FROM journal")) >= 2)
    pipeline.kill()
    sender.send(stream.chunk(200, 300), robot="r2")
    pipeline.start()
    pipeline.wait_for(lambda: sum(closed()) == 300)
    sender.send(stream.chunk(300, 500), robot="r2")
    pipeline.wait_for(lambda: sum(closed()) == 500)
    rows = pipeline.query(COUNTS)
    assert {(status, revision) for _, status, _, revision in rows} == {("UNMARKED", 1)}
    assert stream.id not in {episode_id for episode_id, *_ in rows}, "a stream is no episode"
    kept = pipeline.query("SELECT seq, t_ns FROM frame_blocks FINAL")
    assert all(seq[0] % 128 == 0 for seq, _ in kept), "an episode's frames begin at 0"
    assert sorted(t for _, t_ns in kept for t in t_ns) == stream.t_ns.tolist()


def test_two_robots_under_one_name_are_told_and_their_frames_never_mixed(test_pipeline: Pipeline) -> None:
    pipeline = test_pipeline
    one, two = Take(), Take(boot="boot-2", seed=1)
    sender = RawSender(pipeline.broker)
    chunks = [chunk for pair in zip(one.chunks(), two.chunks(), strict=True) for chunk in pair]
    pipeline.start()
    sender.send(one.start(), one.status(recording=one.id), two.start(), two.status(recording=two.id, boot="boot-2"))
    sender.send(one.status(recording=one.id), two.status(recording=two.id, boot="boot-2"), *chunks[:30])
    pipeline.wait_for(lambda: len(pipeline.query("SELECT DISTINCT episode_id FROM journal")) == 2)
    pipeline.kill()
    sender.send(*chunks[30:], one.end(), two.end())
    pipeline.start()
    rows = "SELECT episode_id, status, frames, hash_verified FROM episodes FINAL"
    pipeline.wait_for(lambda: len(pipeline.query(rows)) == 2)
    assert set(pipeline.query(rows)) == {(take.id, "COMPLETE", 300, 1) for take in (one, two)}
    found = pipeline.query("SELECT episode_id FROM findings FINAL WHERE metric = 'ID_CONFLICT'")
    assert {episode_id for (episode_id,) in found} == {one.id, two.id}
