"""The bundle that ships: `models/lungs`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.bundle import verify_net_in_out

from cxrnode.inference.bundle import INFERENCE, METADATA, WEIGHTS, Network, read_card, verify
from cxrnode.training.recipe import LUNGS

FOLDER = Path(__file__).parents[2] / "models" / "lungs"


def test_shipped_weights_are_the_pinned_ones() -> None:
    """The released bundle verifies, and is small."""
    assert verify(FOLDER).name == "lungs"
    assert (FOLDER / WEIGHTS).stat().st_size < 10_000_000


def test_monai_verifies_the_shipped_bundle() -> None:
    """The function behind `python -m monai.bundle verify_net_in_out` accepts what the metadata promises."""
    verify_net_in_out(
        net_id="network_def", meta_file=str(FOLDER / METADATA), config_file=str(FOLDER / INFERENCE), device="cpu"
    )


def test_shipped_network_answers_the_same_with_one_thread_and_two_alone_and_among_others() -> None:
    """Bit for bit, so that neither is part of an object's identity."""
    batch = np.random.default_rng(2).random((3, 1, LUNGS.size, LUNGS.size), dtype=np.float32)
    one = Network.load(FOLDER, threads=1).predict(batch)
    two = Network.load(FOLDER, threads=2)
    assert np.array_equal(one, two.predict(batch))
    assert np.array_equal(one[1:2], two.predict(batch[1:2]))


def test_card_says_research_use_and_names_its_sources() -> None:
    """What an operator has to know stands in the card: use, sources, terms."""
    text = (FOLDER / "docs" / "README.md").read_text(encoding="utf-8")
    for word in ("Research use only", "ot a medical device", "JSRT", "Shenzhen", "CC BY-NC-SA 4.0"):
        assert word in text
    assert read_card(FOLDER).channels == LUNGS.channels
