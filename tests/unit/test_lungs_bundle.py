"""The bundle that ships: `models/lungs`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrnode.inference.bundle import WEIGHTS, Network, read_card, verify

FOLDER = Path(__file__).parents[2] / "models" / "lungs"


def test_shipped_weights_are_the_pinned_ones() -> None:
    """The released bundle verifies, and is small."""
    assert verify(FOLDER).name == "lungs"
    assert (FOLDER / WEIGHTS).stat().st_size < 10_000_000


def test_shipped_network_answers_the_same_with_one_thread_and_two_alone_and_among_others() -> None:
    """Bit for bit, so that neither is part of an object's identity."""
    size = read_card(FOLDER).input_size
    batch = np.random.default_rng(2).random((3, 1, size, size), dtype=np.float32)
    one = Network.load(FOLDER, threads=1).predict(batch)
    two = Network.load(FOLDER, threads=2)
    assert np.array_equal(one, two.predict(batch))
    assert np.array_equal(one[1:2], two.predict(batch[1:2]))


def test_card_says_research_use_and_names_its_sources() -> None:
    """What an operator has to know stands in the card: use, sources, terms."""
    text = (FOLDER / "docs" / "README.md").read_text(encoding="utf-8")
    for word in ("Research use only", "ot a medical device", "JSRT", "Shenzhen", "CC BY-NC-SA 4.0"):
        assert word in text
    assert read_card(FOLDER).channels == ("right_lung", "left_lung", "heart")
