"""Shapes as a PNG file, drawn twice as large and made smaller for smooth lines; needs the extra ``pictures``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import Any, Final

from kinestream.deploy.judging.scene import WIDTH, Path, Rect, Shape, scene
from kinestream.deploy.judging.traces import Trace
from kinestream.schemas.errors import SettingError

#: Pixels a px in the file, and while it is drawn.
_SCALE, _DRAWN = 2, 4
_ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}
_DASH: Final = (6.0, 4.0)


def picture(traces: Sequence[Trace], heading: str) -> bytes:
    """Heading and panels; raises :class:`SettingError` where Pillow is not installed."""
    try:
        image_of, draw_of, font_of = (import_module(f"PIL.{name}") for name in ("Image", "ImageDraw", "ImageFont"))
    except ImportError as missing:
        raise SettingError(
            "a PNG is drawn with Pillow, which is not installed: pip install 'kinestream[pictures]', or use --html"
        ) from missing
    height, shapes = scene(traces, heading)
    drawn = image_of.new("RGB", (int(WIDTH * _DRAWN), int(height * _DRAWN)), "white")
    canvas = draw_of.Draw(drawn, "RGBA")
    for shape in shapes:
        _draw(canvas, shape, font_of)
    smaller = drawn.resize((int(WIDTH * _SCALE), int(height * _SCALE)), image_of.Resampling.BOX)
    out = BytesIO()
    smaller.save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw(canvas: Any, shape: Shape, fonts: Any) -> None:
    if isinstance(shape, Rect):
        box = [_DRAWN * one for one in (shape.x, shape.y, shape.x + shape.w, shape.y + shape.h)]
        canvas.rectangle(box, fill=(*_rgb(shape.color), round(255 * shape.opacity)))
    elif isinstance(shape, Path):
        for points in _dashes(shape) if shape.dashed else [shape.points]:
            scaled = [(_DRAWN * x, _DRAWN * y) for x, y in points]
            canvas.line(scaled, fill=_rgb(shape.color), width=round(_DRAWN * shape.width), joint="curve")
    else:
        font = fonts.load_default(size=_DRAWN * shape.size)
        place = (_DRAWN * shape.x, _DRAWN * shape.y)
        # the one font there is has no bold cut: its outline makes one
        outline = {"stroke_width": 1, "stroke_fill": _rgb(shape.color)} if shape.bold else {}
        canvas.text(place, shape.words, _rgb(shape.color), font, anchor=_ANCHORS[shape.anchor], **outline)


def _dashes(path: Path) -> list[Sequence[tuple[float, float]]]:
    """Of a level line, the only ones that are dashed."""
    (x, y), (end, _) = path.points[0], path.points[-1]
    pieces: list[Sequence[tuple[float, float]]] = []
    while x < end:
        pieces.append(((x, y), (min(x + _DASH[0], end), y)))
        x += sum(_DASH)
    return pieces


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
