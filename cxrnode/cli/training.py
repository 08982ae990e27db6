"""`cxrnode models films`: which films a data folder holds, before anything is trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrnode.cli.app import Json, say, say_json, say_table
from cxrnode.cli.bundles import Data, models

if TYPE_CHECKING:
    from cxrnode.training.example import Example

PARTS = ("train", "validate", "test")


@models.command("films")
def list_films(
    data: Data,
    run: Annotated[
        Path | None, typer.Option("--run", help="Keep thumbnails in this folder: the next look is faster.")
    ] = None,
    json: Json = False,
) -> None:
    """Count the films of a data folder by source, question, answer and part; say which are in several data sets."""
    from cxrnode.training.catalogue import read_split

    split = read_split(data, run)
    counts: Counter[tuple[str, ...]] = Counter(
        (*answer, example.part) for example in split.examples for answer in (("all", "", ""), *_answers(example))
    )
    rows = [(*answer, *(counts[*answer, part] for part in PARTS)) for answer in sorted({key[:3] for key in counts})]
    columns = ("source", "question", "answer", *PARTS)
    if json:
        rest = {"films": len(split.examples), "groups": len(set(split.groups)), "joined_by_likeness": split.joined}
        say_json({**rest, "counts": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    say_table(f"Films in {data}", columns, rows)
    say(f"{len(split.examples)} films in {len(set(split.groups))} groups that are not parted;")
    say(f"{split.joined} pairs of films of different patients, by name, are the same picture.")


def _answers(example: Example) -> Iterator[tuple[str, str, str]]:
    """Give (source, question, answer) for everything that is known of a film."""
    yield example.source, "", ""
    yield from ((example.source, question, answer) for question, answer in example.classes.items())
    yield from ((example.source, f"mask {name}", "drawn" if masks else "none") for name, masks in example.masks.items())
    if example.boxes is not None:
        yield example.source, "boxes", "drawn" if example.boxes else "none"
    yield from ((example.source, "report", label) for label, stated in example.labels.items() if stated)
