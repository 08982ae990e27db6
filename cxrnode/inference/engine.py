"""The loaded networks on their device; imported in the child only.

Hides torch. Promises that a model whose files are not the ones its digest names is not run, that the same picture gives
the same output whatever the number of threads (a network whose output depends on it runs with one) and whatever other
pictures go through with it (on a GPU the shape of the batch is fixed and part of the model's identity), and that one
model's failure is not another's. A GPU with too little memory costs time, not the answer: the batch is made smaller,
then the CPU runs it, and each answer carries the identity of what did (docs/decisions/0036).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from cxrnode import telemetry
from cxrnode.domain.finding import Failure, ModelIdentity
from cxrnode.errors import DeviceMissing
from cxrnode.inference.bundle import Network
from cxrnode.inference.image_pass import FloatArray, Model, Prepared, Said, failure_of
from cxrnode.inference.image_pass import Network as Runs
from cxrnode.inference.protocol import LOST_DEVICE

_NOT_A_NUMBER = Failure(code="model_failed", detail="its output is not a number")

Stage = Callable[[str, Sequence[int]], AbstractContextManager[object]]
"""Is told of a network's run: the model's name, and the places of its images among those of the call."""


def _unwatched(model: str, images: Sequence[int]) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """One way to run a model: by which network, with how many images at once, and what the answers are then called."""

    network: Callable[[], Runs]
    model: ModelIdentity
    group: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The models by name, and how many images they take at once; on a CPU those `alone` run with one thread.

    `spare` gives a model's network on the CPU, for a GPU without memory. `reason`: why this device and no better one.
    """

    models: Mapping[str, Model]
    device: str
    group: int
    threads: int = 1
    alone: frozenset[str] = frozenset()
    spare: Callable[[str], Runs] | None = None
    reason: str = ""

    def run(self, images: Sequence[Prepared], stage: Stage = _unwatched) -> list[dict[str, Said | Failure]]:
        """Run every model on those of the images (`group` at most) that are prepared for it, each inside `stage`.

        Gives for each image, by model name, what the network said or why it did not.
        """
        outputs: list[dict[str, Said | Failure]] = [{} for _ in images]
        for name, model in self.models.items():
            fed = [index for index, image in enumerate(images) if name in image.fed]
            if not fed:
                continue
            pictures = np.stack([images[index].fed[name].picture for index in fed])
            with stage(name, fed):
                said = self._outputs(name, model, pictures)
            for index, one in zip(fed, said, strict=True):
                outputs[index][name] = one
        return outputs

    def _outputs(self, name: str, model: Model, pictures: FloatArray) -> Sequence[Said | Failure]:
        """Run one model in the first way that there is memory for."""
        failure = Failure(code="model_failed")
        for way in self._ways(name, model):
            try:
                return _run(way, pictures, model.card.input_size)
            except Exception as error:  # noqa: BLE001 - the edge: a model that fails is an answer
                failure = _failure(error)
                if failure.code != "no_memory":
                    self._check_device()
                    break
            self._release()
        return [failure] * len(pictures)

    def _ways(self, name: str, model: Model) -> Iterator[Way]:
        """Give the ways to run a model, the usual one first; then with half as many images, and at last on the CPU."""
        threads = 1 if name in self.alone else self.threads
        yield Way(network=lambda: model.network, model=model.identity, group=self.group, threads=threads)
        if not self._on_gpu:
            return
        plain, group = model.identity.backend.removesuffix(f"batch-{self.group}"), self.group
        while group > 1:
            group //= 2
            fewer = replace(model.identity, backend=f"{plain}batch-{group}")
            yield Way(network=lambda: model.network, model=fewer, group=group, threads=threads)
        if self.spare is not None:
            on_cpu = replace(model.identity, backend=backend_of("cpu", 1))
            yield Way(network=partial(self.spare, name), model=on_cpu, group=1, threads=1)

    @property
    def _on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def _release(self) -> None:
        if self._on_gpu:
            with suppress(RuntimeError):  # a GPU that is beyond use: the next way finds that out, and says so
                torch.cuda.empty_cache()

    def _check_device(self) -> None:
        if self._on_gpu and not _answers(self.device):
            os._exit(LOST_DEVICE)


def _run(way: Way, pictures: FloatArray, size: int) -> list[Said | Failure]:
    """Run a network on pictures (N, S, S), `group` at a time; the shape of a batch is always the same."""
    torch.set_num_threads(way.threads)
    network = way.network()
    said: list[Said | Failure] = []
    for first in range(0, len(pictures), way.group):
        chunk = pictures[first : first + way.group]
        batch = np.zeros((way.group, 1, size, size), dtype=np.float32)
        batch[: len(chunk), 0] = chunk
        for values in network.predict(batch)[: len(chunk)]:
            said.append(Said(values=values, model=way.model) if np.isfinite(values).all() else _NOT_A_NUMBER)
    return said


def load_engine(bundles: Mapping[str, Path], *, device: str, threads: int, batch: int) -> Engine:
    """Load the bundles (folders by model name) onto the device and run each once.

    `auto` takes the CPU where the GPU that is there cannot be used. Raises ModelAltered, DeviceMissing (no such device,
    or it cannot be used), NeedsOperator (a bundle that may not be run).
    """
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.backends.cudnn.benchmark = False
    chosen = choose_device(device)
    try:
        return _loaded(bundles, chosen, threads, batch)
    except Exception as error:
        if chosen == "cpu" or not (_is_crowded(error) or not _answers(chosen)):
            raise
        telemetry.unexpected("load models", error)
        if device != "auto":
            raise _missing(device, "cannot be used") from error
    return replace(_loaded(bundles, "cpu", threads, batch), reason=f"{chosen} cannot be used")


def _loaded(bundles: Mapping[str, Path], chosen: str, threads: int, batch: int) -> Engine:
    group = batch if chosen.startswith("cuda") else 1
    networks = {name: Network.load(path, chosen) for name, path in bundles.items()}
    models = {name: _model(name, network, backend_of(chosen, group)) for name, network in networks.items()}
    shared = chosen == "cpu" and threads > 1
    alone = {name for name, network in networks.items() if shared and depends_on_threads(network, threads)}
    for model in models.values():
        model.network.predict(np.zeros((group, 1, model.card.input_size, model.card.input_size), dtype=np.float32))
    return Engine(
        models=models,
        device=chosen,
        group=group,
        threads=threads,
        alone=frozenset(alone),
        spare=cache(lambda name: Network.load(bundles[name], "cpu")),
    )


def choose_device(asked: str) -> str:
    """Give `cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`. Raises DeviceMissing where there is none."""
    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked == "cpu":
        return "cpu"
    name, _, number = asked.partition(":")
    if name == "cuda" and (number or "0").isdigit() and int(number or 0) < torch.cuda.device_count():
        return f"cuda:{int(number or 0)}"
    raise _missing(asked, "is not there")


def _missing(device: str, why: str) -> DeviceMissing:
    return DeviceMissing(
        f"the device '{device}' {why}", operation="load models", hint="see 'The GPU is lost' in docs/operations.md"
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


def _answers(device: str) -> bool:
    """Tell whether a GPU still does: after an error of its own no call to it succeeds in this process."""
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        telemetry.unexpected("ask the GPU", error)
        return False
    return True


def _failure(error: Exception) -> Failure:
    said = failure_of(error)
    if _is_crowded(error):
        return Failure(code="no_memory", detail=said.detail, transient=True)
    return Failure(code="model_failed", detail=said.detail)


_CROWDED = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""What torch says of the CPU's memory; of a GPU's without room for its own context; and of its libraries' (cuBLAS,
cuDNN) workspaces: all of them a RuntimeError."""


def _is_crowded(error: Exception) -> bool:
    """Tell want of memory: torch has a class of its own for most of a GPU's, and for the rest words."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or any(words in str(error) for words in _CROWDED)
