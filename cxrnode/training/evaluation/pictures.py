"""Hides how numbers become pictures: confusion matrix, ROC, FROC, reliability.

Promises PNGs for people, drawn from the numbers alone; nothing reads them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cxrnode.training.evaluation.calibration import Bin

SIDE, EDGE, ROOM = 440, 64, 230
"""Pixels: a diagram's side, the margin round it, and the room for its legend."""
INKS = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#6c3483", "#117a65", "#566573")
CELL = 92

Curve = Sequence[tuple[float, float]]


def draw_confusion(table: Sequence[Sequence[int]], labels: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix: rows the truth, columns what was said; the darker, the larger its share of the row."""
    left, top = 170, 90
    canvas = Image.new("RGB", (left + CELL * len(labels) + 30, top + CELL * len(labels) + 40), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((12, 12), title, fill="black", font=_font(15))
    pen.text((left, top - 44), "said", fill="#555555", font=_font(13))
    for place, label in enumerate(labels):
        pen.text((12, top + CELL * place + CELL // 2 - 8), label, fill="black", font=_font(13))
        pen.text((left + CELL * place + 4, top - 22), _short(label, CELL), fill="black", font=_font(13))
    for row, counts in enumerate(table):
        for col, count in enumerate(counts):
            _draw_cell(pen, (left + CELL * col, top + CELL * row), count, sum(counts))
    canvas.save(path)


def _draw_cell(pen: ImageDraw.ImageDraw, corner: tuple[int, int], count: int, total: int) -> None:
    share = count / total if total else 0.0
    shade = round(255 - 200 * share)
    x, y = corner
    pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=(shade, round(shade + (255 - shade) * 0.35), 255))
    ink = "white" if share > 0.6 else "black"
    pen.text((x + 10, y + 22), str(count), fill=ink, font=_font(20))
    pen.text((x + 10, y + 52), f"{100 * share:.0f} %" if total else "no film", fill=ink, font=_font(13))


def draw_roc(curves: Mapping[str, Curve], title: str, path: Path) -> None:
    """Draw ROC curves, (share of false alarms, sensitivity), by their label."""
    _draw_diagram(curves, title, ("1 - specificity", "sensitivity"), path, diagonal=True)


def draw_froc(curves: Mapping[str, Curve], title: str, path: Path, reach: float = 2.0) -> None:
    """Draw FROC curves, (boxes too many a film up to `reach`, share of true boxes hit)."""
    shown = {label: [(x / reach, y) for x, y in curve if x <= reach] for label, curve in curves.items()}
    _draw_diagram(shown, title, ("boxes too many a film", "share of true boxes hit"), path, reach=reach)


def draw_reliability(bins: Mapping[str, Sequence[Bin]], title: str, path: Path) -> None:
    """Draw reliability diagrams: what was said against what was true, a dot a bin, the larger the more films."""
    curves = {label: [(one.said, one.true) for one in found] for label, found in bins.items()}
    sizes = {label: [one.n for one in found] for label, found in bins.items()}
    _draw_diagram(curves, title, ("probability said", "share that is true"), path, diagonal=True, sizes=sizes)


def _draw_diagram(
    curves: Mapping[str, Curve],
    title: str,
    axes: tuple[str, str],
    path: Path,
    *,
    diagonal: bool = False,
    sizes: Mapping[str, Sequence[int]] | None = None,
    reach: float = 1.0,
) -> None:
    canvas = Image.new("RGB", (EDGE + SIDE + ROOM, SIDE + 2 * EDGE), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((12, 12), title, fill="black", font=_font(15))
    pen.text((EDGE, 38), axes[1], fill="#555555", font=_font(13))
    pen.text((EDGE + SIDE // 2 - 60, EDGE + SIDE + 30), axes[0], fill="#555555", font=_font(13))
    _draw_grid(pen, reach)
    if diagonal:
        pen.line([_at(0, 0), _at(1, 1)], fill="#999999")
    for number, (label, curve) in enumerate(curves.items()):
        ink = INKS[number % len(INKS)]
        if len(curve) > 1:
            pen.line([_at(x, y) for x, y in curve], fill=ink, width=2)
        for place, (x, y) in enumerate(curve if sizes else ()):
            _draw_dot(pen, _at(x, y), ink, (sizes or {})[label][place])
        _draw_label(pen, number, label, ink)
    canvas.save(path)


def _draw_grid(pen: ImageDraw.ImageDraw, reach: float) -> None:
    for tenth in range(0, 11, 2):
        share = tenth / 10
        pen.line([_at(share, 0), _at(share, 1)], fill="#eeeeee")
        pen.line([_at(0, share), _at(1, share)], fill="#eeeeee")
        pen.text((_at(share, 0)[0] - 8, EDGE + SIDE + 8), f"{share * reach:g}", fill="#555555", font=_font(12))
        pen.text((EDGE - 28, _at(0, share)[1] - 7), f"{share:g}", fill="#555555", font=_font(12))
    pen.rectangle((EDGE, EDGE, EDGE + SIDE, EDGE + SIDE), outline="#aaaaaa")


def _draw_dot(pen: ImageDraw.ImageDraw, at: tuple[float, float], ink: str, films: int) -> None:
    radius = min(9.0, 2.0 + films**0.5 / 4)
    pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), outline=ink, width=2)


def _draw_label(pen: ImageDraw.ImageDraw, number: int, label: str, ink: str) -> None:
    y = EDGE + 44 * number
    pen.rectangle((EDGE + SIDE + 14, y + 4, EDGE + SIDE + 26, y + 12), fill=ink)
    name, _, rest = label.partition(": ")
    pen.text((EDGE + SIDE + 32, y), _short(name, ROOM - 40), fill="black", font=_font(12))
    pen.text((EDGE + SIDE + 32, y + 16), rest, fill="#555555", font=_font(12))


def _at(x: float, y: float) -> tuple[float, float]:
    return EDGE + SIDE * min(1.0, max(0.0, x)), EDGE + SIDE * (1 - min(1.0, max(0.0, y)))


def _short(text: str, width: int) -> str:
    room = max(3, int(width / 6.6))
    return text if len(text) <= room else text[: room - 1] + "."


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
