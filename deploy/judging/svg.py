"""Shapes as SVG text: nothing but the shapes, so that a page needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from kinestream.deploy.judging.scene import HEIGHT, WIDTH, Path, Rect, Shape, panel, scene
from kinestream.deploy.judging.traces import Trace

_FONT = "font-family=\"Inter, 'Helvetica Neue', Helvetica, Arial, 'Noto Sans CJK SC', sans-serif\""


def picture(traces: Sequence[Trace], heading: str) -> str:
    """A document of its own: heading and panels."""
    return _document(*scene(traces, heading))


def inline(trace: Trace) -> str:
    """One panel, to stand within a page."""
    return _document(HEIGHT, panel(trace))


def _document(height: float, shapes: Iterable[Shape]) -> str:
    size = f'viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" height="{height:g}"'
    body = "".join(map(_element, shapes))
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT}>{body}</svg>'


def _element(shape: Shape) -> str:
    if isinstance(shape, Rect):
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.w:.1f}" height="{shape.h:.1f}"'
        return f'<rect {place} fill="{shape.color}" fill-opacity="{shape.opacity:g}"/>'
    if isinstance(shape, Path):
        points = " ".join(f"{x:g},{y:g}" for x, y in shape.points)
        dash = ' stroke-dasharray="6 4"' if shape.dashed else ""
        look = f'fill="none" stroke="{shape.color}" stroke-width="{shape.width:g}" stroke-linejoin="round"{dash}'
        return f'<polyline points="{points}" {look}/>'
    weight = ' font-weight="600"' if shape.bold else ""
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" fill="{shape.color}"'
    return f'<text {place} text-anchor="{shape.anchor}"{weight}>{escape(shape.words)}</text>'
