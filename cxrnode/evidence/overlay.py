"""A picture of what was found, for people without a viewer: outlines, boxes and measured lines over the radiograph.

Hides Pillow. Promises a PNG in the source's own orientation, with the sides named, and nothing of the patient on it
that is not burned into the pixels.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from cxrnode.domain.finding import Box, Finding, ImageResult, Mask, Measurement, Presence
from cxrnode.domain.wording import likelihood

_COLOURS = {
    "right_lung": (70, 190, 255),
    "left_lung": (255, 190, 60),
    "heart": (255, 90, 110),
    "pneumothorax": (190, 255, 70),
    "right_pneumothorax": (190, 255, 70),
    "left_pneumothorax": (190, 255, 70),
    "lung_opacity": (255, 130, 255),
}
_NAMES = {
    "right_lung": "R lung",
    "left_lung": "L lung",
    "heart": "heart",
    "right_pneumothorax": "R pneumothorax",
    "left_pneumothorax": "L pneumothorax",
    "covid19_pneumonia": "appearance of COVID-19 pneumonia",
    "viral_pneumonia": "viral pneumonia (learned from children)",
}
_DASHES = 8
"""Dashes a side of a box whose finding is not certain."""
_OTHER = (140, 230, 120)
_LINE = (255, 255, 255)


def overlay(preview: NDArray[np.uint8], result: ImageResult, shape: tuple[int, int]) -> bytes:
    """Give a PNG of `preview` (rows, columns) with the result drawn on it; `shape` is the source's (rows, columns)."""
    picture = Image.fromarray(preview, mode="L").convert("RGB")
    scale = (picture.width / shape[1], picture.height / shape[0])
    for one in result.results:
        for region in one.regions:
            picture = _outlined(picture, region.label, region.mask)
        _draw_lines(picture, one.measurements, scale)
        for finding in one.findings:
            _draw_boxes(picture, finding, scale)
    _caption(picture, result)
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", optimize=True)
    return encoded.getvalue()


def _outlined(picture: Image.Image, label: str, mask: Mask) -> Image.Image:
    small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST), dtype=bool)
    if not small.any():
        return picture
    pixels, colour = np.asarray(picture).copy(), np.array(_COLOURS.get(label, _OTHER))
    edge = small & ~ndimage.binary_erosion(small, iterations=max(1, picture.width // 400))
    pixels[small] = (pixels[small] * 0.85 + colour * 0.15).astype(np.uint8)
    pixels[edge] = colour
    drawn = Image.fromarray(pixels)
    row, column = (float(index.mean()) for index in np.nonzero(small))
    _write(drawn, (column, row), _name(label), _COLOURS.get(label, _OTHER))
    return drawn


def _name(label: str) -> str:
    return _NAMES.get(label, label.replace("_", " "))


def _draw_boxes(picture: Image.Image, finding: Finding, scale: tuple[float, float]) -> None:
    """Draw each box of a finding with its probability: dashed where the finding is not said to be present."""
    for box in finding.boxes:
        left, right = box.left * scale[0], box.right * scale[0]
        top, bottom = box.top * scale[1], box.bottom * scale[1]
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        for start, end in pairwise(corners):
            _side(picture, start, end, _COLOURS.get(box.label, _OTHER), whole=finding.presence is Presence.PRESENT)
        _label(picture, box, ((left + right) / 2, top))


def _side(
    picture: Image.Image,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: tuple[int, int, int],
    *,
    whole: bool,
) -> None:
    pen, width = ImageDraw.Draw(picture), max(2, picture.width // 300)
    ends = np.linspace(start, end, 2 if whole else 2 * _DASHES)
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        pen.line([tuple(first), tuple(last)], fill=colour, width=width)


def _label(picture: Image.Image, box: Box, at: tuple[float, float]) -> None:
    """Write what a box shows above its upper side, or inside where there is no room above."""
    size = _size(picture)
    row = at[1] - size if at[1] > 2 * size else at[1] + size
    _write(picture, (at[0], row), f"{_name(box.label)} {likelihood(box.probability)}", _COLOURS.get(box.label, _OTHER))


def _draw_lines(picture: Image.Image, measurements: Sequence[Measurement], scale: tuple[float, float]) -> None:
    pen = ImageDraw.Draw(picture)
    for line in (line for measurement in measurements for line in measurement.lines):
        pen.line([(x * scale[0], y * scale[1]) for x, y in line], fill=_LINE, width=max(1, picture.width // 400))


def _caption(picture: Image.Image, result: ImageResult) -> None:
    """Write what is not ruled out, the ratio and the intended use at the foot: no apex is hidden by a word."""
    ratios = [m.value for one in result.results for m in one.measurements if m.name == "cardiothoracic_ratio"]
    text = " · ".join([f"CTR {ratio:.2f}" for ratio in ratios] + ["research use, not a medical device"])
    size = _size(picture)
    said = [(_stated(finding, by), _COLOURS.get(finding.name, _OTHER)) for finding, by in _open(result)]
    lines = [(line, colour) for words, colour in [*said, (text, _LINE)] for line in _broken(picture, words)]
    for below, (line, colour) in zip(reversed(range(len(lines))), lines, strict=True):
        _write(picture, (picture.width / 2, picture.height - size - below * 1.3 * size), line, colour)


def _broken(picture: Image.Image, text: str) -> list[str]:
    """Break a text between words into lines that the picture has room for; a longer word has a line of its own."""
    pen, size = ImageDraw.Draw(picture), _size(picture)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.textlength(longer, font_size=size) <= picture.width - size:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _size(picture: Image.Image) -> int:
    return max(12, picture.width // 40)


def _open(result: ImageResult) -> Iterator[tuple[Finding, str]]:
    """Give each finding that is not absent, and whose it is where two models speak of one."""
    times = Counter(finding.name for one in result.results for finding in one.findings)
    for one in result.results:
        for finding in one.findings:
            if finding.presence is not Presence.ABSENT:
                yield finding, f" by {one.model.name}" if times[finding.name] > 1 else ""


def _stated(finding: Finding, by: str) -> str:
    number = "" if finding.probability is None else f" {likelihood(finding.probability, finding.undecided)}"
    reserve = " (off by default)" if "withheld" in finding.caveats else ""
    return f"{_name(finding.name)}{by}: {finding.presence}{number}{reserve}"


def _write(picture: Image.Image, at: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    """Write with its middle at `at`, or as near to it as the whole text stays in the picture."""
    size = _size(picture)
    pen = ImageDraw.Draw(picture)
    half = pen.textlength(text, font_size=size) / 2 + size // 4
    at = (max(half, min(at[0], picture.width - half)), max(size, min(at[1], picture.height - size)))
    pen.text(at, text, fill=colour, font_size=size, anchor="mm", stroke_width=max(1, size // 16), stroke_fill=(0, 0, 0))
