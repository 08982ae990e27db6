"""What each bundle costs: parameters, megabytes, and its time beside that of its bare network.

Hides which ways are compared and how a bundle's bare network is had. Promises ratios of things done in turn in one run
(timing.py), on a synthetic radiograph; images a second are printed beside them as context and mean nothing elsewhere.

    python -m benchmarks.models --out DIR        or: make bench ARGS="--out DIR"
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.timing import Ratio, Way, race, ratio, surroundings
from cxrnode.domain.finding import ImagePrediction, ModelIdentity
from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import INFERENCE, NETWORK, WEIGHTS, BundleCard, Network, checked_weights, read_card
from cxrnode.inference.configuration import read_configuration, resolve
from cxrnode.inference.engine import Engine, backend_of
from cxrnode.inference.image_pass import Model, finish_image, prepare_image
from cxrnode.inference.network import build_network
from cxrnode.inference.reading import Answers, answers
from cxrnode.inference.shelf import bundles_in
from cxrnode.phantom import Radiograph, write
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.normalise import prepare
from cxrnode.ports import Request
from cxrnode.training.evaluation.report import markdown as table

FloatArray = NDArray[np.float32]

MODELS = Path(__file__).resolve().parent.parent / "models"
PLAIN, NETWORK_ALONE, NODE, FILE = "plain", "network", "node", "file"
"""The ways: the bare network in eager torch; the bundle's; the node's from a decoded film; from the film's file."""
TOGETHER = "all together"
ROUNDS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it runs: a torch device, the CPU threads, and the images that go through a network at once."""

    device: str
    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.device}, {self.threads} thread{'s' * (self.threads > 1)}, {self.batch} at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a bundle is. `stored` is the type of its weights in the file."""

    model: str
    kind: str
    input_size: int
    parameters: int
    megabytes: float
    stored: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model, or all together, in one place: images a second by way, and each way's ratio to the plain one."""

    model: str
    place: Place
    images_a_second: Mapping[str, float]
    ratios: Mapping[str, Ratio]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What was found, and on what."""

    on: Mapping[str, Any]
    sizes: tuple[Size, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A bundle twice: as the node loads it, and its network as anybody's eager torch would."""

    name: str
    network: Network
    plain: nn.Module

    @property
    def card(self) -> BundleCard:
        """The bundle's card."""
        return self.network.card


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """A synthetic radiograph: its file, and its display picture (rows, cols), 0..1."""

    path: Path
    image: FloatArray


def plain_network(path: Path) -> nn.Module:
    """Build a bundle's network and fill it: float32, torch's own memory format, eval mode, on the CPU."""
    module = build_network(resolve(read_configuration(path / INFERENCE), NETWORK))
    module.load_state_dict(_state(path))
    return module.eval()


def _state(path: Path) -> dict[str, torch.Tensor]:
    checked_weights(path, read_card(path))
    state: dict[str, Any] = torch.load(path / WEIGHTS, map_location="cpu", weights_only=True)
    found: dict[str, torch.Tensor] = state["model"] if set(state) == {"model"} else state
    return found


def size_of(name: str, path: Path) -> Size:
    """Count a bundle's parameters and bytes."""
    card, state = read_card(path), _state(path)
    return Size(
        model=name,
        kind=card.kind,
        input_size=card.input_size,
        parameters=sum(weight.numel() for weight in plain_network(path).parameters()),
        megabytes=round((path / WEIGHTS).stat().st_size / 1e6, 2),
        stored=", ".join(
            sorted({str(t.dtype).removeprefix("torch.") for t in state.values() if t.is_floating_point()})
        ),
    )


def line_of(model: str, place: Place, seconds: Mapping[str, Sequence[float]]) -> Line:
    """Put one race together."""
    return Line(
        model=model,
        place=place,
        images_a_second={name: place.batch / float(np.median(found)) for name, found in seconds.items()},
        ratios={name: ratio(seconds[PLAIN], found) for name, found in seconds.items() if name != PLAIN},
    )


def node_way(loaded: Sequence[Loaded], film: Film, batch: int) -> list[Answers]:
    """Ask every model about `batch` decoded films as the child does: prepare, run, read."""
    said: list[Answers] = []
    for one in loaded:
        fed = [prepare(film.image, one.card.input_size) for _ in range(batch)]
        outputs = one.network.predict(np.stack([picture for picture, _ in fed])[:, None])
        said += [answers(one.card, raw, box) for raw, (_, box) in zip(outputs, fed, strict=True)]
    return said


def network_way(loaded: Sequence[Loaded], fed: Mapping[str, FloatArray]) -> list[FloatArray]:
    """Run the bundles' networks on inputs that are prepared already."""
    return [one.network.predict(fed[one.name]) for one in loaded]


def plain_way(loaded: Sequence[Loaded], fed: Mapping[str, torch.Tensor], device: str) -> list[torch.Tensor]:
    """Run the bare networks on inputs that lie on the device already, by torch's own settings for it."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if device.startswith("cuda"):
            # Loading a bundle fixes cuDNN's kernels and their precision; who uses torch as it comes has neither.
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=False, allow_tf32=True))
        return [one.plain(fed[one.name]) for one in loaded]


def file_way(engine: Engine, film: Film, batch: int) -> list[ImagePrediction]:
    """Answer `batch` films from their file to masks and boxes on their own rows and columns, as the child does."""
    request = Request(row=0, path=film.path, transfer_syntax_uid="", models=tuple(engine.models))
    prepared = [prepare_image(request, engine.models) for _ in range(batch)]
    said = [
        finish_image(one, outputs, engine.models) for one, outputs in zip(prepared, engine.run(prepared), strict=True)
    ]
    if any(one.failure or one.failed for one in said):
        raise NeedsOperator("a model does not answer on a phantom", operation="bench", hint="cxrnode models verify")
    return said


def ways_of(loaded: Sequence[Loaded], film: Film, place: Place) -> dict[str, Way]:
    """Give the ways to time of one model, or of several together."""
    fed = {one.name: np.stack([prepare(film.image, one.card.input_size)[0]] * place.batch)[:, None] for one in loaded}
    there = {name: torch.from_numpy(batch).to(place.device) for name, batch in fed.items()}
    return {
        PLAIN: lambda: plain_way(loaded, there, place.device),
        NETWORK_ALONE: lambda: network_way(loaded, fed),
        NODE: lambda: node_way(loaded, film, place.batch),
    }


def places(threads: Sequence[int], batch: int) -> list[Place]:
    """Give the places to measure: the CPU with so many threads each, one image at a time; CUDA where there is one."""
    found = [Place(device="cpu", threads=count, batch=1) for count in threads]
    return [*found, *([Place(device="cuda:0", threads=1, batch=batch)] if torch.cuda.is_available() else [])]


def load(bundles: Mapping[str, Path], device: str) -> list[Loaded]:
    """Load every bundle twice onto a device."""
    return [
        Loaded(name=name, network=Network.load(path, device), plain=plain_network(path).to(device))
        for name, path in bundles.items()
    ]


def engine_of(loaded: Sequence[Loaded], place: Place) -> Engine:
    """Give the child's engine over networks that are loaded already."""
    backend = backend_of(place.device, place.batch)
    models = {
        one.name: Model(
            identity=ModelIdentity(name=one.name, version=one.card.version, digest=one.card.digest, backend=backend),
            network=one.network,
            card=one.card,
        )
        for one in loaded
    }
    return Engine(models=models, device=place.device, group=place.batch)


def measure(bundles: Mapping[str, Path], film: Film, where: Sequence[Place], rounds: int) -> Iterator[Line]:
    """Race each bundle, and all together, in each place."""
    for device in dict.fromkeys(place.device for place in where):
        loaded = load(bundles, device)
        for place in (one for one in where if one.device == device):
            for one in loaded:
                yield line_of(one.name, place, race(ways_of([one], film, place), place.threads, rounds))
            engine = engine_of(loaded, place)
            ways = ways_of(loaded, film, place)
            ways[FILE] = partial(file_way, engine, film, place.batch)
            yield line_of(TOGETHER, place, race(ways, place.threads, rounds))


def draw_film(folder: Path, side: int) -> Film:
    """Write a synthetic radiograph of `side` by `side` pixels and decode it."""
    path = folder / "film.dcm"
    write(Radiograph(rows=side, cols=side), path)
    return Film(path=path, image=display(decode(path)).values)


def markdown(found: Bench) -> str:
    """Give the tables: sizes, then times."""
    sizes = [
        (one.model, one.kind, one.input_size, f"{one.parameters / 1e6:.2f} million", one.megabytes, one.stored)
        for one in found.sizes
    ]
    times = [
        (
            line.model,
            line.place,
            *(f"{line.images_a_second[way]:.1f}" for way in (PLAIN, NODE)),
            *(line.ratios.get(way, "-") for way in (NETWORK_ALONE, NODE, FILE)),
        )
        for line in found.lines
    ]
    told = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.on.items())
    heads = ("model", "on", "plain images/s", "node images/s", "network : plain", "node : plain", "from file : plain")
    return "\n\n".join(
        (
            table(("model", "kind", "input", "parameters", "weights, MB", "stored as"), sizes),
            table(heads, times),
            f"{told}.",
        )
    )


def bench(
    folder: Path, *, only: Sequence[str] = (), side: int, rounds: int, threads: Sequence[int], batch: int
) -> Bench:
    """Measure the bundles in a folder. NeedsOperator where there is none."""
    bundles = {name: path for name, path in bundles_in(folder).items() if not only or name in only}
    if not bundles:
        raise NeedsOperator("there is no such bundle to measure", operation="bench", subject=str(folder))
    on = {**surroundings(), "film": f"phantom, {side} x {side} pixels", "rounds": rounds}
    with tempfile.TemporaryDirectory() as made:
        film = draw_film(Path(made), side)
        lines = tuple(measure(bundles, film, places(threads, batch), rounds))
    return Bench(on=on, sizes=tuple(size_of(name, path) for name, path in bundles.items()), lines=lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line: tables on standard output; with --out, models.md and models.json as well."""
    parser = argparse.ArgumentParser(description="Measure what each bundle costs beside its bare network.")
    parser.add_argument("--folder", type=Path, default=MODELS, help="folder of bundles; else models/ of this checkout")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this bundle; may be repeated")
    parser.add_argument("--out", type=Path, help="write models.md and models.json here")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each way is timed in turn")
    parser.add_argument("--side", type=int, default=2048, help="pixels of the phantom's sides")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads, one after the other")
    parser.add_argument("--batch", type=int, default=8, help="images at once on CUDA; models.batch in the settings")
    said = parser.parse_args(arguments)
    found = bench(
        said.folder, only=said.only, side=said.side, rounds=said.rounds, threads=said.threads, batch=said.batch
    )
    document = json.dumps(asdict(found), indent=2)
    sys.stdout.write(f"{document if said.json else markdown(found)}\n")
    if said.out:
        said.out.mkdir(parents=True, exist_ok=True)
        (said.out / "models.md").write_text(markdown(found) + "\n", encoding="utf-8")
        (said.out / "models.json").write_text(document + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
