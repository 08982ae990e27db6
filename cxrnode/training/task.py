"""Hides what differs between the kinds of training from the loop that runs them all.

Promises that batches are functions of their number, so that a run that was stopped goes on with the very batches it
would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from cxrnode.training.shortfall import Shortfall


class Task(Protocol):
    """One kind of training: a network, its batches, its loss, its quick look, and what the folder could not give."""

    network: nn.Module
    shortfall: Shortfall

    def batch(self, number: int) -> Any:
        """Draw batch `number` of the run: numpy arrays, whatever `loss` wants."""
        ...

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Run the network on a batch and give the scalar to minimise. Autocast is the loop's."""
        ...

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Look at the validation part with the averaged weights, in eval mode; `score`: higher is better."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Say how many films there are, by whatever matters: for the first line of the log."""
        ...
