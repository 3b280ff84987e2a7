"""The command ``kinestream bench``: sizes as a person gives them, and one document for a machine."""

import json
import subprocess
import sys

import pytest

from kinestream.deploy.bench.codec import measure_codec
from kinestream.deploy.cli.bench import parse_sizes
from kinestream.schemas.errors import SettingError


@pytest.mark.parametrize(("text", "sizes"), [("64", [64]), ("1,10,64", [1, 10, 64]), ("1, 10", [1, 10])])
def test_chunk_sizes_are_numbers_parted_by_commas(text, sizes):
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "1,,2", "ten", "-1", "501"])
def test_other_chunk_sizes_are_refused_with_what_is_allowed(text):
    with pytest.raises(SettingError, match="1 to 500"):
        parse_sizes(text)


def test_encoding_and_decoding_are_measured_at_every_size():
    figures = measure_codec([1, 10], repeats=1, turn_s=0.001)
    assert [(f.chunk, f.what) for f in figures] == [(1, "encode"), (1, "decode"), (10, "encode"), (10, "decode")]
    assert all(f.ours > 0 and f.fastavro > 0 and f.ratio == f.ours / f.fastavro for f in figures)


def kinestream(*arguments):
    command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_json_is_one_document_with_figures_peer_ratio_and_machine():
    done = kinestream("codec", "--json", "--chunk", "64", "--repeats", "1", "--turn", "0.001")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["cores"] > 0
    assert {f["what"] for f in document["figures"]} == {"encode", "decode"}
    for figure in document["figures"]:
        assert figure["ratio"] == pytest.approx(figure["ours"] / figure["fastavro"])


def test_a_wrong_size_is_one_line_and_exit_code_2():
    done = kinestream("worker", "--chunk", "x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: --chunk 'x'")
    assert len(done.stderr.splitlines()) == 1


def test_the_spool_is_measured_at_every_size_and_way():
    done = kinestream("spool", "--json", "--chunk", "10", "--frames", "3000", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    ways = [(one["chunk"], one["call"], one["durable"]) for one in figures]
    assert ways == [(10, "send_many", "process"), (10, "send_many", "power"), (10, "send", "process")]
    assert all(one["frames_per_cpu_s"] > 0 and one["promised_s"] > 0 for one in figures)
