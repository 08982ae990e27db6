"""Hides how a run's log becomes a picture.

Promises one PNG with the loss and the validation scores over the steps, redrawn from the log alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, EDGE = 900, 420, 40
INKS = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#6c3483", "#117a65", "#566573")
NOT_DRAWN = ("step", "seconds", "seconds_a_step", "learning_rate")


def draw_curves(log: Path, picture: Path) -> None:
    """Draw each number of the log over the steps; every curve has its own scale, stated in its label."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((EDGE, EDGE, WIDTH - EDGE, HEIGHT - EDGE), outline="#aaaaaa")
    pen.text((EDGE, HEIGHT - EDGE + 6), f"step 0 to {lines[-1]['step']}", fill="black")
    for number, name in enumerate(key for key in lines[-1] if key not in NOT_DRAWN):
        _draw_curve(pen, name, [(line["step"], line[name]) for line in lines if name in line], number)
    canvas.save(picture)


def _draw_curve(pen: ImageDraw.ImageDraw, name: str, points: list[tuple[float, float]], number: int) -> None:
    last = max(1.0, points[-1][0])
    low, high = min(value for _, value in points), max(value for _, value in points)
    ink = INKS[number % len(INKS)]
    reach = max(high - low, 1e-9)
    places = [
        (EDGE + (WIDTH - 2 * EDGE) * step / last, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / reach)
        for step, value in points
    ]
    if len(places) > 1:
        pen.line(places, fill=ink, width=2)
    label = f"{name}: {low:.4f} to {high:.4f}"
    pen.text((EDGE + 6 + 290 * (number // 4), EDGE + 6 + 14 * (number % 4)), label, fill=ink)
