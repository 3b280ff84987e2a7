"""Reads damaged copies of a recording of each format, each format in a process of its own with little memory.

Prints one JSON document: format -> how its process ended, how many copies were refused, and what was no clear sentence.
"""

import json
import os
import resource
import tempfile
from pathlib import Path

import numpy as np

from kinestream.producers.recordings import open_recording
from kinestream.schemas.errors import KinestreamError
from tests.plugins.recording_files import FORMATS

COPIES, MEMORY, SECONDS = 16, 3 * 2**30, 20


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, a piece doubled, one byte changed, or thirty overwritten."""
    kind, at = rng.integers(4), int(rng.integers(len(content)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at // 2 :]
    spoilt = bytearray(content)
    for place in rng.integers(len(content), size=1 if kind == 2 else 30):
        spoilt[place] = int(rng.integers(256)) if kind == 2 else 0xFF
    return bytes(spoilt)


def read_copies(name: str, folder: Path) -> dict[str, object]:
    write, choices = FORMATS[name]
    sound = write(folder)
    frames = sum(map(len, open_recording(sound, choices=choices)))
    files = [p for p in (sorted(sound.rglob("*")) if sound.is_dir() else [sound]) if p.is_file()]
    rng, refused, wrong = np.random.default_rng(7), 0, []
    for copy in range(COPIES):
        file = files[copy % len(files)]
        kept = file.read_bytes()
        file.write_bytes(damaged(kept, rng))
        try:
            for _ in open_recording(sound, choices=choices):
                pass
        except KinestreamError as problem:
            refused += 1
            if "\n" in str(problem) or len(str(problem)) > 1000:
                wrong.append(f"copy {copy}: not one sentence: {problem!s:.300}")
        except BaseException as problem:
            wrong.append(f"copy {copy} of {file.name}: {problem!r:.300}")
        file.write_bytes(kept)
    return {"frames": frames, "refused": refused, "wrong": wrong}


def in_a_process(name: str) -> dict[str, object]:
    """Forked, so that the libraries are loaded once; a crash or a limit ends this format alone."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            result.write_text(json.dumps(read_copies(name, Path(folder))))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = json.loads(result.read_text()) if result.is_file() else {}
    return {"exit": status, **found}


if __name__ == "__main__":
    print(json.dumps({name: in_a_process(name) for name in FORMATS}))
