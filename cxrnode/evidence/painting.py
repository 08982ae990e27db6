"""A drawing painted upon a picture of its image: what an overlay and a Secondary Capture show.

Hides Pillow. Promises square pixels, letters that can be read whatever the image's size, words about the image beside
it and not upon it, and the same picture for the same drawing under one version of Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cxrnode.evidence.caption import Sentence
from cxrnode.evidence.contour import Point
from cxrnode.evidence.drawing import PICTURE_SIDE, Drawing, Mark
from cxrnode.evidence.lettering import LINE_HEIGHT, Text

PAINTED_WITH = f"Pillow {PIL.__version__}"
"""What else decides the bytes of a picture: how letters and lines are drawn."""

SHORTEST_LONG_SIDE = 768
"""A picture that is smaller is made larger: fewer pixels leave no room for letters."""

_DASH = 12.0
"""Pixels of a dash, and of the gap after it."""
_CAPTION = 0.8
"""Of a letter upon the picture: one of the caption."""


def painted(preview: NDArray[np.uint8], drawing: Drawing, head: Sequence[Sentence] = ()) -> NDArray[np.uint8]:
    """Give the picture (rows, columns, RGB): `head` above it, the drawing upon it, its caption below it.

    `preview` shows the whole image, in its own orientation.
    """
    picture = _enlarged(preview, drawing)
    scale = (picture.width / drawing.columns, picture.height / drawing.rows)
    for mark in drawing.marks:
        _paint_mark(picture, mark, scale)
    size = drawing.letter * scale[0]
    for text in drawing.texts:
        _paint_text(picture, text, scale, size)
    above, below = (_lines(picture.width, sentences, _CAPTION * size) for sentences in (head, drawing.caption))
    return np.asarray(_framed(picture, above, below, _CAPTION * size))


def _enlarged(preview: NDArray[np.uint8], drawing: Drawing) -> Image.Image:
    """Give the picture square pixels, and sides that are neither too short for words nor too long for a screen."""
    longer = max(drawing.columns, drawing.rows * drawing.aspect)
    scale = min(PICTURE_SIDE, max(SHORTEST_LONG_SIDE, *preview.shape)) / longer
    size = max(1, round(drawing.columns * scale)), max(1, round(drawing.rows * drawing.aspect * scale))
    picture = Image.fromarray(preview, mode="L")
    return (picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)).convert("RGB")


def _paint_mark(picture: Image.Image, mark: Mark, scale: tuple[float, float]) -> None:
    """Paint lines with a dark seam, so that they are seen on bone and on air."""
    pen, width = ImageDraw.Draw(picture), max(2, max(picture.size) // 400)
    scaled = [[(x * scale[0], y * scale[1]) for x, y in line] for line in mark.lines]
    strokes = [stroke for line in scaled for stroke in ([line] if mark.certain else _dashes(line))]
    for stroke in strokes:
        pen.line(stroke, fill=(0, 0, 0), width=width + 2, joint="curve")
    for stroke in strokes:
        pen.line(stroke, fill=mark.colour.rgb, width=width, joint="curve")


def _dashes(line: Sequence[Point]) -> Iterator[list[Point]]:
    """Cut a line into dashes of one length, around its corners."""
    corners = np.array(line)
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    for start in np.arange(0.0, way[-1], 2 * _DASH):
        end = min(start + _DASH, way[-1])
        stops = [start, *way[(way > start) & (way < end)], end]
        yield [(float(np.interp(s, way, corners[:, 0])), float(np.interp(s, way, corners[:, 1]))) for s in stops]


def _paint_text(picture: Image.Image, text: Text, scale: tuple[float, float], size: float) -> None:
    middle = (text.left + text.right) / 2 * scale[0], (text.top + text.bottom) / 2 * scale[1]
    _write(picture, middle, text.text, text.colour.rgb, text.size * size, anchor="mm")


def _lines(width: int, sentences: Sequence[Sentence], size: float) -> list[Sentence]:
    """Break sentences between words into lines that there is room for; a longer word has a line of its own."""
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    lines: list[Sentence] = []
    for sentence in sentences:
        text = ""
        for word in sentence.text.split():
            longer = f"{text} {word}" if text else word
            if text and pen.textlength(longer, font_size=size) > width - size:
                lines.append(Sentence(text=text, colour=sentence.colour))
                text = word
            else:
                text = longer
        lines.append(Sentence(text=text, colour=sentence.colour))
    return lines


def _framed(picture: Image.Image, above: Sequence[Sentence], below: Sequence[Sentence], size: float) -> Image.Image:
    """Put black bands above and below the picture, and the lines into them."""
    bands = [round((len(lines) + 0.5) * LINE_HEIGHT * size) if lines else 0 for lines in (above, below)]
    framed = Image.new("RGB", (picture.width, picture.height + sum(bands)))
    framed.paste(picture, (0, bands[0]))
    for first, lines in ((0, above), (bands[0] + picture.height, below)):
        for number, line in enumerate(lines):
            middle = first + (number + 0.75) * LINE_HEIGHT * size
            _write(framed, (size / 2, middle), line.text, line.colour.rgb, size, anchor="lm")
    return framed


def _write(
    picture: Image.Image, at: tuple[float, float], text: str, colour: tuple[int, int, int], size: float, anchor: str
) -> None:
    seam = max(1, round(size / 16))
    pen = ImageDraw.Draw(picture)
    pen.text(at, text, fill=colour, font_size=size, anchor=anchor, stroke_width=seam, stroke_fill=(0, 0, 0))
