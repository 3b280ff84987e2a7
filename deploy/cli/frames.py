"""Owns the command ``frames`` and the .npz file it writes; the frames come from streams/archive.py."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(frames)


def frames(
    episode_id: Annotated[str, typer.Argument(metavar="ID", help="Episode id.")],
    out: Annotated[Path, typer.Option(help="File to write, .npz.", dir_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Write an episode's frames to a file for numpy: seq, t, t_ns, joints, and each measured channel (n, width).

    What a channel's columns are called is in CHANNEL.names, where its robot says it.
    """
    from kinestream.deploy.cli.episodes import open_archive
    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.schemas.errors import SettingError

    if out.suffix.lower() != ".npz":
        raise SettingError(f"--out {out}: what is written is for numpy.load; give a name that ends with .npz")
    archive = open_archive()
    names = archive.element_names(episode_id)
    arrays = with_names(archive.frames(episode_id), names)
    try:
        write_npz(out, arrays)
    except OSError as problem:
        raise SettingError(
            f"--out {out} cannot be written ({problem.strerror}): give a file in a folder of yours"
        ) from problem
    told = {name: {"shape": list(value.shape), "dtype": str(value.dtype)} for name, value in arrays.items()}
    if as_json:
        emit_json({"file": str(out), "arrays": told, "element_names": names})
        return
    say(f"wrote {out}: {', '.join(f'{name} {value.shape}' for name, value in arrays.items())}")
    for name, elements in names.items():
        say(f"{name}: its columns are {', '.join(elements)}")


def with_names(arrays: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The arrays and, behind them, the ``names`` of a channel's columns, unicode (width,), under CHANNEL.names.

    A channel that is itself called so keeps its name, and the other's are left out.
    """
    import numpy as np

    named = {f"{name}.names": np.array(elements, np.str_) for name, elements in names.items() if name in arrays}
    return {**arrays, **{name: told for name, told in named.items() if name not in arrays}}


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """What numpy.load reads, whole or not at all; any name may be a channel's, also those numpy.savez takes itself."""
    import numpy as np

    partial = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(partial, "w") as packed:
            for name, values in arrays.items():
                with packed.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
