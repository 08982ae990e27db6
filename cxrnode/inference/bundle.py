"""Hides a model's package: a folder in the layout of MONAI's bundle specification.

Promises that a bundle is read and never run (configuration.py), that no weight is used before the file's SHA-256 is the
pinned one, and that a card is read without importing torch.

    configs/metadata.json    what it is and is for; `network_data_format`; our own block `cxrnode`
    configs/inference.json   `network_def`
    models/model.pt          a state dict
    docs/README.md, LICENSE  for people

The block `cxrnode`: name, licence, weights_sha256, and how the output is read (card.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrnode.errors import ModelAltered
from cxrnode.inference.card import (
    BoxRule,
    Calibration,
    FindingRule,
    Kind,
    labels_of,
    part_of_the_digest,
    read_own_block,
)
from cxrnode.inference.configuration import read_configuration, refusal, resolve
from cxrnode.inference.network import build_network, count_numbers
from cxrnode.inference.weights import fill

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float32]

METADATA = Path("configs/metadata.json")
INFERENCE = Path("configs/inference.json")
WEIGHTS = Path("models/model.pt")
NETWORK = "network_def"
"""The key that MONAI's bundle properties ask for, and that the bundles of its Model Zoo use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCard:
    """What a bundle says of itself.

    `digest` is over all that can change an answer: the weights (by their pinned SHA-256), the network, the input and
    output format, the kind, and how the output is calibrated and judged. Prose, published metrics and whether the model
    is on by default are not in it. `operating_points` is empty for a classification, `boxes` stated for a detection.
    """

    name: str
    version: str
    digest: str
    task: str
    input_size: int
    channels: tuple[str, ...]
    operating_points: Mapping[str, float]
    intended_use: str
    licence: str
    metrics: Mapping[str, Any]
    weights_sha256: str
    kind: Kind = "segmentation"
    groups: tuple[tuple[str, ...], ...] = ()
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    findings: tuple[FindingRule, ...] = ()
    boxes: BoxRule | None = None
    enabled_by_default: bool = True
    disabled_because: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The channels that name something seen: all, but for a detection's corners."""
        return labels_of(self.kind, self.channels)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The operating points in the order of the labels. Raises KeyError for a classification, which has none."""
        return tuple(self.operating_points[label] for label in self.labels)


def read_card(path: Path) -> BundleCard:
    """Read a bundle's card. Raises NeedsOperator where the folder is no bundle that this program can use."""
    metadata, inference = read_configuration(path / METADATA), read_configuration(path / INFERENCE)
    with metadata.part("network_data_format", "inputs", "image") as image:
        size = _input_size(image)
    with metadata.part("network_data_format", "outputs", "pred") as output:
        names = channel_names(output)
    with metadata.part("cxrnode") as own:
        said = read_own_block(own, names)
        name, licence, sha256 = (str(own[word]) for word in ("name", "licence", "weights_sha256"))
        _refuse_unseen(own)
    with metadata.part() as whole:
        form = whole["network_data_format"]
        _refuse_unseen(whole["version"])
        digest = _digest(
            {"cxrnode": part_of_the_digest(own), "network_data_format": form, "inference": inference.content}
        )
        return BundleCard(
            name=name,
            version=str(whole["version"]),
            digest=digest,
            task=str(whole["task"]),
            input_size=size,
            channels=names,
            operating_points=said.operating_points,
            intended_use=str(whole["intended_use"]),
            licence=licence,
            metrics=dict(whole.get("eval_metrics", {})),
            weights_sha256=sha256.lower(),
            kind=said.kind,
            groups=said.groups,
            calibration=said.calibration,
            findings=said.findings,
            boxes=said.boxes,
            enabled_by_default=said.enabled_by_default,
            disabled_because=said.disabled_because,
        )


def channel_names(output: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the names of an output's channels in order. Raises KeyError, TypeError or ValueError where one has none."""
    named, count = output["channel_def"], output["num_channels"]
    if not named or set(named) != {str(index) for index in range(len(named))} or count != len(named):
        raise ValueError("channel_def names every channel from 0 to num_channels - 1")
    names = tuple(str(named[str(index)]) for index in range(count))
    _refuse_unseen(names)
    if len(set(names)) != len(names):
        raise ValueError("two channels have one name")
    return names


def _input_size(image: Mapping[str, Any]) -> int:
    shape, channels = image["spatial_shape"], image["num_channels"]
    sides = [side for side in shape if isinstance(side, int) and 32 <= side <= 4096]
    if not (len(shape) == len(sides) == 2 and sides[0] == sides[1] and channels == 1):
        wanted = "one square gray picture: num_channels 1, spatial_shape [S, S] with S from 32 to 4096"
        raise ValueError(f"the input must be {wanted}; not {channels} and {shape}")
    return sides[0]


def _refuse_unseen(said: Any) -> None:
    """Raise ValueError for a text with characters that would not be seen: it stands on terminals and in reports."""
    if isinstance(said, str) and not said.isprintable():
        raise ValueError(f"'{said}' has characters that would not be seen")
    if isinstance(said, list | tuple):
        for part in said:
            _refuse_unseen(part)
    if isinstance(said, Mapping):
        _refuse_unseen([*said.keys(), *said.values()])


def _digest(parts: Mapping[str, Any]) -> str:
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def verify(path: Path) -> BundleCard:
    """Read the card and check the weights against it. Raises ModelAltered where they are not the pinned ones."""
    card = read_card(path)
    checked_weights(path, card)
    return card


def checked_weights(path: Path, card: BundleCard) -> bytes:
    """Read the weights whole, so that what is hashed is what is loaded."""
    file, name = path / WEIGHTS, f"{path.name}/{WEIGHTS}"
    if not file.is_file():
        raise refusal("the bundle lacks a file", name)
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise refusal("the bundle's weights cannot be read", name) from cause
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights_sha256:
        raise ModelAltered(
            f"the weights have SHA-256 {found[:12]}..., pinned is {card.weights_sha256[:12]}...",
            operation="verify bundle",
            subject=card.name,
            hint="put the released bundle back, or see docs/operations.md, Pinning new weights",
        )
    return content


def check_size(path: Path) -> None:
    """Refuse a network that is larger than its weights' file, before memory is taken for it. Raises NeedsOperator."""
    configuration = read_configuration(path / INFERENCE)
    place = configuration.place((NETWORK, "_target_"))
    count, most = count_numbers(resolve(configuration, NETWORK), place=place), (path / WEIGHTS).stat().st_size
    if count > most:
        raise refusal(f"the network has {count} numbers, and its weights' file {most} bytes", place)


class Network:
    """A bundle's network in memory, on one device, ready to answer. Owns its weights; not for two threads at once."""

    def __init__(self, card: BundleCard, module: torch.nn.Module, device: str) -> None:
        """Take a built network; use `load`."""
        self.card = card
        self.device = device
        self._module = module

    @classmethod
    def load(cls, path: Path, device: str = "cpu", threads: int | None = None) -> Network:
        """Check, build and fill a bundle's network on `device` (a torch device string).

        `threads` sets torch's thread count for the whole process; the answer does not depend on it. Raises
        ModelAltered for weights that are not the pinned ones, NeedsOperator for a bundle that cannot be used.
        """
        import torch

        card = read_card(path)
        content = checked_weights(path, card)
        configuration = read_configuration(path / INFERENCE)
        definition = resolve(configuration, NETWORK)
        if threads is not None:
            torch.set_num_threads(threads)
        module = build_network(definition, place=configuration.place((NETWORK, "_target_")))
        fill(module, content, f"{path.name}/{WEIGHTS}")
        if torch.device(device).type == "cuda":
            _forbid_autotuning()
        # torch's annotations know memory_format only beside a tensor.
        module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(card, module.eval(), device)

    def predict(self, batch: FloatArray) -> FloatArray:
        """Give what `reading.answers` reads of inputs (N, 1, S, S) as `pixels.normalise.prepare` makes them, float32.

        Segmentation: probabilities (N, C, S, S); classification: logits (N, C); detection: logits of K labels and the
        corners of M candidates (N, K+4, M). Raises ValueError for a picture of another size.

        On a CPU the images run one at a time: a batch gains little there, and an answer must not depend on which
        images happened to wait together.
        """
        size = self.card.input_size
        if batch.ndim != 4 or batch.shape[1:] != (1, size, size):
            raise ValueError(f"{self.card.name} takes (N, 1, {size}, {size}), not {batch.shape}")
        if torch_type(self.device) == "cuda":
            return self._run(batch)
        return np.concatenate([self._run(batch[index : index + 1]) for index in range(len(batch))])

    def _run(self, batch: FloatArray) -> FloatArray:
        import torch

        with torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)).to(self.device)
            logits = self._module(images.to(memory_format=torch.channels_last))
            said = torch.sigmoid(logits.float()) if self.card.kind == "segmentation" else logits.float()
            answer: FloatArray = said.contiguous().cpu().numpy()
        return answer


def torch_type(device: str) -> str:
    """Give the kind of a torch device string: `cuda:1` is cuda."""
    return device.partition(":")[0]


def _forbid_autotuning() -> None:
    """Make CUDA choose the same kernels in the same precision every time."""
    import torch

    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
