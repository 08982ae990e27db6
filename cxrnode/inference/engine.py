"""The loaded networks on their device; imported in the child only.

Hides torch. Promises that a model whose files are not the ones its digest names is not run, that the same picture gives
the same output whatever the number of threads (a network whose output depends on it runs with one) and whatever other
pictures go through with it (on a GPU the shape of the batch is fixed and part of the model's identity), and that one
model's failure is not another's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cxrnode import telemetry
from cxrnode.domain.finding import Failure, ModelIdentity
from cxrnode.errors import SettingsInvalid
from cxrnode.inference.bundle import Network
from cxrnode.inference.image_pass import FloatArray, Model, Prepared, failure_of

LOST_DEVICE = 71
"""Exit status where a GPU's context is beyond use: only a new process gets a new one."""

_NOT_A_NUMBER = Failure(code="model_failed", detail="its output is not a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The models by name, and how many images they take at once; on a CPU those `alone` run with one thread."""

    models: Mapping[str, Model]
    device: str
    group: int
    threads: int = 1
    alone: frozenset[str] = frozenset()

    def run(self, images: Sequence[Prepared]) -> list[dict[str, FloatArray | Failure]]:
        """Run every model on those of the images (`group` at most) that are prepared for it.

        Gives for each image, by model name, the network's output or why there is none.
        """
        outputs: list[dict[str, FloatArray | Failure]] = [{} for _ in images]
        for name, model in self.models.items():
            fed = [index for index, image in enumerate(images) if name in image.fed]
            if not fed:
                continue
            pictures = np.stack([images[index].fed[name].picture for index in fed])
            torch.set_num_threads(1 if name in self.alone else self.threads)
            for index, said in zip(fed, self._outputs(model, pictures), strict=True):
                outputs[index][name] = said
        return outputs

    def _outputs(self, model: Model, pictures: FloatArray) -> Sequence[FloatArray | Failure]:
        count = len(pictures)
        batch = np.zeros((self.group, 1, model.card.input_size, model.card.input_size), dtype=np.float32)
        batch[:count, 0] = pictures
        try:
            outputs = model.network.predict(batch)[:count]
        except Exception as error:  # noqa: BLE001 - the edge: a model that fails is an answer
            self._check_device()
            return [_failure(error)] * count
        return [said if np.isfinite(said).all() else _NOT_A_NUMBER for said in outputs]

    def _check_device(self) -> None:
        if not self.device.startswith("cuda"):
            return
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError as error:
            telemetry.unexpected("run network", error)
            os._exit(LOST_DEVICE)


def load_engine(bundles: Mapping[str, Path], *, device: str, threads: int, batch: int) -> Engine:
    """Load the bundles (folders by model name) onto the device and run each once.

    Raises ModelAltered, SettingsInvalid (no such device), NeedsOperator (a bundle that may not be run).
    """
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.backends.cudnn.benchmark = False
    chosen = choose_device(device)
    group = batch if chosen.startswith("cuda") else 1
    networks = {name: Network.load(path, chosen) for name, path in bundles.items()}
    models = {name: _model(name, network, backend_of(chosen, group)) for name, network in networks.items()}
    shared = chosen == "cpu" and threads > 1
    alone = {name for name, network in networks.items() if shared and depends_on_threads(network, threads)}
    engine = Engine(models=models, device=chosen, group=group, threads=threads, alone=frozenset(alone))
    for model in models.values():
        model.network.predict(np.zeros((group, 1, model.card.input_size, model.card.input_size), dtype=np.float32))
    return engine


def choose_device(asked: str) -> str:
    """Give `cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`. Raises SettingsInvalid where there is none."""
    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked == "cpu":
        return "cpu"
    name, _, number = asked.partition(":")
    if name == "cuda" and (number or "0").isdigit() and int(number or 0) < torch.cuda.device_count():
        return f"cuda:{int(number or 0)}"
    raise SettingsInvalid(
        f"there is no device '{asked}' here", operation="load models", hint="set device to auto, cpu or cuda:N"
    )


def backend_of(device: str, group: int) -> str:
    """Name what of this side can change any answer: framework, kind of processor, precision, batch on a GPU.

    The batch on a CPU is not in it: images go through one at a time; nor are threads (`depends_on_threads`).
    """
    version = torch.__version__.split("+")[0]
    if device == "cpu":
        return f"torch-{version} cpu {torch.backends.cpu.get_cpu_capability().lower()} fp32"
    major, minor = torch.cuda.get_device_capability(device)
    return f"torch-{version} cuda sm_{major}{minor} fp32 batch-{group}"


def depends_on_threads(network: Network, threads: int) -> bool:
    """Tell whether a network on a CPU gives other bits with so many threads than with one; leaves so many set.

    Some layers sum in another order then (a norm over the picture, an interpolation): tried once, on noise.
    """
    size = network.card.input_size
    noise = np.random.default_rng(0).random((1, 1, size, size), dtype=np.float32)
    torch.set_num_threads(1)
    alone = network.predict(noise)
    torch.set_num_threads(threads)
    return not np.array_equal(alone, network.predict(noise), equal_nan=True)


def _model(name: str, network: Network, backend: str) -> Model:
    card = network.card
    identity = ModelIdentity(name=name, version=card.version, digest=card.digest, backend=backend)
    return Model(identity=identity, network=network, card=card)


def _failure(error: Exception) -> Failure:
    said = failure_of(error)
    crowded = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return Failure(code="model_failed", detail=said.detail, transient=crowded)
