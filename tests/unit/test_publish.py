"""Replaying recordings: what reaches the topic is what the source holds, under new ids and today's time."""

import time

import numpy as np
import pytest

from kinestream.producers.publish import publish
from kinestream.producers.recordings import Choices, open_recording
from kinestream.producers.recordings.inspection import inspect
from kinestream.schemas.catalogue import FRAMES_BULK, topic_name
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.errors import ContractError, RecordingError
from kinestream.schemas.layout import Layout
from kinestream.schemas.settings import Settings
from kinestream.schemas.stamps import iso_ns
from tests.plugins.recording_files import mcap
from tests.plugins.recordings import columns, write_episode
from tests.plugins.topics import read_episodes

G1 = "g1-inspire-lerobot-v21"
EPISODE = "data/chunk-000/episode_{:06d}.parquet"
SYNTHETIC = "the stamps are synthetic: frame / 30 Hz, not measured"


def publish_to(broker, *paths, **options):
    return publish(paths, kafka=broker.bootstrap, settings=Settings(tenant=broker.tenant), **options)


def sent(broker):
    return read_episodes(broker.bootstrap, topic_name(FRAMES_BULK, broker.tenant))


@pytest.mark.recordings
def test_g1_episodes_reach_the_topic_bit_for_bit(recordings, test_broker):
    before = time.time_ns()
    report = publish_to(test_broker, *(recordings / G1 / EPISODE.format(i) for i in (0, 1)), skill="pick_place")
    on_topic = sent(test_broker)
    assert [e.source for e in report.episodes] == [f"{G1}/{EPISODE.format(i)}" for i in (0, 1)]
    assert report.frames == 479 + 393
    for published in report.episodes:
        (recorded,) = open_recording(recordings / published.source)
        episode = on_topic[published.episode_id]
        for channel, values in {
            "position": recorded.position, "command": recorded.command, **recorded.further
        }.items():  # fmt: skip
            assert episode.values(channel).tobytes() == values.tobytes()
        assert episode.seq == list(range(published.frames))
        assert np.array_equal(episode.t_ns - episode.t_ns[0], recorded.t_ns - recorded.t_ns[0])
        assert before <= episode.t_ns[0] <= time.time_ns()
        assert episode.end["n_total"] == published.frames == len(recorded)
        assert episode.end["content_hash"] == published.content_hash == hash_of(episode)


def hash_of(episode):
    layout = Layout.from_avro(episode.start)
    hasher = ContentHasher(layout)
    for chunk in episode.chunks:
        hasher.add(chunk.first_seq, chunk.t_ns, chunk.channels)
    return hasher.hexdigest(episode.end["n_total"])


@pytest.mark.recordings
def test_the_start_says_where_it_is_from_and_what_was_converted(recordings, test_broker):
    publish_to(test_broker, recordings / G1 / EPISODE.format(3), skill="pick_place", area="household")
    ((_, episode),) = sent(test_broker).items()
    start = episode.start
    assert (start["robot_id"], start["model_id"]) == ("replay-unitree-g1-29-dof-1", "unitree-g1-29-dof")
    assert (start["skill"], start["area"]) == ("pick_place", "household")
    assert start["task"] == "Pick up the yellow bottle on the table."
    assert start["source"] == f"{G1}/{EPISODE.format(3)}"
    assert start["nominal_rate_hz"] == 30
    assert start["stamp_resolution_ns"] == 954
    assert [c["name"] for c in start["channels"]] == ["position", "command", "hand_position", "hand_command"]
    assert any("rint(float64(timestamp) * 1e9)" in told for told in start["conversions"])
    assert {len(chunk) for chunk in episode.chunks[:-1]} == {64}


@pytest.mark.recordings
def test_the_whole_folder_publishes_what_is_there_and_says_what_is_not(recordings, test_broker):
    steps = []
    report = publish_to(test_broker, recordings / G1, on_progress=steps.append)
    on_topic = sent(test_broker)
    assert len(report.episodes) == len({e.episode_id for e in report.episodes}) == 60
    assert set(on_topic) == {e.episode_id for e in report.episodes}
    assert report.frames == 22042 == sum(e.end["n_total"] for e in on_topic.values())
    assert report.notes == [f"{G1} declares 100 episodes; 60 are there and were published, 40 are not (60-99)"]
    assert report.bytes > 22042 * 4 * 52
    assert (steps[-1].frames, steps[-1].frames_total) == (22042, 22042)
    assert set(report.to_json()["episodes"][0]) == {"episode_id", "source", "frames", "content_hash"}


def test_each_run_mints_new_ids_for_the_same_content(data_set, test_broker):
    first, second = (publish_to(test_broker, data_set, robot="arm-7") for _ in range(2))
    on_topic = sent(test_broker)
    assert len({e.episode_id for e in first.episodes + second.episodes}) == len(on_topic) == 4
    assert [e.content_hash for e in first.episodes] == [e.content_hash for e in second.episodes]
    assert {e.start["robot_id"] for e in on_topic.values()} == {"arm-7"}


def test_kept_time_is_the_recordings_own(data_set, test_broker):
    report = publish_to(test_broker, data_set, keep_time=True)
    episode = sent(test_broker)[report.episodes[0].episode_id]
    (recorded, *_) = open_recording(data_set)
    assert episode.t_ns.tolist() == recorded.t_ns.tolist()
    assert episode.start["conversions"] == [*recorded.conversions, f"odd: {SYNTHETIC}"]


def test_stamps_moved_to_now_are_told_and_so_is_where_they_were(data_set, test_broker, tmp_path):
    dated = mcap(tmp_path)
    report = publish_to(test_broker, dated, choices=Choices(model="universal-robots-ur5e"))
    report.episodes += publish_to(test_broker, data_set).episodes
    on_topic = sent(test_broker)
    recorded = [*open_recording(dated, choices=Choices(model="universal-robots-ur5e")), *open_recording(data_set)]
    told = [told_of_time(on_topic[e.episode_id], r) for e, r in zip(report.episodes, recorded, strict=True)]
    first = int(recorded[0].t_ns[0])
    assert told[0] == f"{first} ns ({iso_ns(first)})"
    assert told[1:] == ["0 ns of its own time, which has no date"] * 2


def told_of_time(episode, recorded):
    (text,) = [text for text in episode.start["conversions"] if text.startswith("published as of now")]
    shift, began = text.removeprefix("published as of now: every t_ns moved by ").split(
        " ns; the recording's first was "
    )
    assert (recorded.t_ns + int(shift)).tolist() == episode.t_ns.tolist()
    return began


def test_oddities_are_reported_once_and_stand_on_the_episodes_they_are_of(data_set, test_broker):
    stalled = columns(frames=6, seed=2) | {"timestamp": np.float32([0, 1, 2, 3, 4, 90]) / 30}
    write_episode(data_set, 2, stalled)
    report = publish_to(test_broker, data_set, data_set)
    assert report.oddities == inspect(data_set).oddities[:-1]  # the last is what the notes say: one episode is missing
    assert f"{SYNTHETIC} (in 1 of 2 episodes)" in report.oddities
    assert report.to_json()["notes"] == [*report.notes, *(f"odd: {text}" for text in report.oddities)]
    odd = [odd_of(sent(test_broker)[e.episode_id]) for e in report.episodes]
    assert odd[0] == odd[2] == [f"odd: {SYNTHETIC}"]
    assert odd[1] == odd[3]
    assert any("gaps of 2.9 s or more" in text for text in odd[1])


def odd_of(episode):
    return [text for text in episode.start["conversions"] if text.startswith("odd: ")]


def test_a_speed_is_a_multiple_of_real_time(data_set, test_broker):
    write_episode(data_set, 0, columns(frames=192))
    path = data_set / EPISODE.format(0)
    report = publish_to(test_broker, path, speed=8.0)
    episode = sent(test_broker)[report.episodes[0].episode_id]
    assert len(episode.chunks) == 3
    for sent_ms, chunk in zip(episode.sent_ms, episode.chunks, strict=True):
        measured_ms = (chunk.t_ns[-1] - episode.t_ns[0]) / 1e6
        assert sent_ms - episode.t_ns[0] / 1e6 >= measured_ms / 8 - 1
    for refused in ("fast", 0, -1, "inf", "nan"):
        with pytest.raises(ContractError, match="allowed are max and a number above 0"):
            publish_to(test_broker, path, speed=refused)


def test_nothing_is_sent_when_any_of_the_paths_cannot_be_read(data_set, test_broker, tmp_path):
    with pytest.raises(RecordingError, match="nowhere does not exist"):
        publish_to(test_broker, data_set, tmp_path / "nowhere")
    assert sent(test_broker) == {}


def test_an_episode_damaged_inside_ends_the_run_and_the_error_says_how_far_it_came(data_set, test_broker):
    path = data_set / EPISODE.format(2)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(bytes(content))
    with pytest.raises(RecordingError, match=r"damaged.*the 1 episodes before it were published"):
        publish_to(test_broker, data_set)
    assert len(sent(test_broker)) == 1
