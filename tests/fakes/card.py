"""A bundle's card without a bundle, for tests of what is done by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxrnode.inference.bundle import BundleCard
from cxrnode.inference.card import Kind

SIZE = 64


def card(kind: Kind, channels: Sequence[str], size: int = SIZE, **said: Any) -> BundleCard:
    """Give the card of a model of a kind; `said` are the other fields that matter to a test."""
    return BundleCard(
        name="fake",
        version="1",
        digest="d",
        task="none",
        input_size=size,
        channels=tuple(channels),
        intended_use="tests",
        licence="none",
        metrics={},
        weights_sha256="0" * 64,
        kind=kind,
        **{"operating_points": {}, **said},
    )
