"""The cards of the bundles that ship: what a card says, and what its metadata say, is one thing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cxrnode.inference.bundle import INFERENCE, NETWORK, WEIGHTS, BundleCard, read_card, verify
from cxrnode.inference.configuration import read_configuration, resolve
from cxrnode.inference.network import build_network

MODELS = Path(__file__).parents[2] / "models"
NAMES = sorted(folder.name for folder in MODELS.iterdir() if (folder / WEIGHTS).is_file())
_NUMBER = re.compile(r"(?<![\d.])\d+\.(\d{2,})(?!\d)")


def text(name: str) -> str:
    """Give a card's page, line by line."""
    return (MODELS / name / "docs" / "README.md").read_text(encoding="utf-8")


def in_a_row(name: str) -> str:
    """Give a card's page with its prose unbroken."""
    return " ".join(text(name).split())


def states(line: str, words: list[str], value: float) -> bool:
    """Say whether a line names all `words` and gives `value`, to as many decimals as it gives, two at least."""
    spoken = line.casefold()
    found = (match for match in _NUMBER.finditer(line) if abs(float(match[0]) - value) <= 0.5001 * 10 ** -len(match[1]))
    return all(word.casefold() in spoken for word in words) and any(found)


@pytest.fixture(params=NAMES)
def card(request: pytest.FixtureRequest) -> BundleCard:
    """The card of each bundle in turn."""
    return read_card(MODELS / str(request.param))


def test_five_bundles_ship_with_the_weights_that_they_pin() -> None:
    """Four that find something, and the gate."""
    assert NAMES == ["classifier", "gate", "lungs", "opacity", "pneumothorax"]
    assert [verify(MODELS / name).name for name in NAMES] == NAMES


def test_published_metrics_are_the_numbers_on_the_page(card: BundleCard) -> None:
    """A metric is named by the words of its row and by its measure: a line has those words and that number."""
    lines = text(card.name).splitlines()
    unsaid = [
        metric
        for metric, value in card.metrics.items()
        if not any(states(line, metric.split()[:-1], float(value)) for line in lines)
    ]
    assert card.metrics and not unsaid


def test_a_number_that_differs_in_its_last_place_is_not_the_one_on_the_page() -> None:
    """The comparison above can fail: by the number, by a word."""
    line = "| rsna | nih | 84 | 0.780 [0.693, 0.859] |"
    assert states(line, ["rsna", "nih"], 0.7802)
    assert not states(line, ["rsna", "nih"], 0.781)
    assert not states(line, ["rsna", "kermany"], 0.7802)


def test_page_says_what_it_is_and_how_its_numbers_are_had(card: BundleCard) -> None:
    """Research use, the version, and the commands that measure and train."""
    page = in_a_row(card.name)
    assert "Research use only. Not a medical device." in page
    assert f"| version | {card.version} |" in page
    assert f"cxrnode models evaluate {card.name} --data DIR" in page
    assert f"cxrnode models train {card.name} --data DIR" in page


def test_page_and_licence_file_name_the_terms_and_the_sources(card: BundleCard) -> None:
    """The licence in the metadata is that of the page and of the file; every source has its terms."""
    terms = card.licence.split(",")[0].replace("CC-BY-NC-SA-", "CC BY-NC-SA ")
    licence = (MODELS / card.name / "LICENSE").read_text(encoding="utf-8")
    sources = text(card.name).split("## Data and terms")[1]
    assert terms in sources and terms in licence
    assert sum(line.startswith("| ") for line in sources.splitlines()) >= 4


def test_page_says_why_a_model_is_off_and_a_finding_withheld(card: BundleCard) -> None:
    """The reasons that `models list` and `show` give stand on the page word for word."""
    reasons = [card.disabled_because, *(rule.withheld for rule in card.findings)]
    page = in_a_row(card.name)
    assert card.enabled_by_default or card.disabled_because
    assert [reason for reason in reasons if reason and reason not in page] == []


def test_page_gives_every_operating_point(card: BundleCard) -> None:
    """A reader of a report finds its operating point on the page, beside the finding's name."""
    lines = text(card.name).splitlines()
    for rule in card.findings:
        points = [line for line in lines if rule.name in line]
        assert any(_says(line, rule.operating_point) for line in points), rule.name


def _says(line: str, point: float) -> bool:
    return any(abs(float(said) - point) < 0.0006 for said in re.findall(r"\d?\.\d+", line))


def test_page_gives_the_size_that_the_network_has(card: BundleCard) -> None:
    """Parameters in millions, and megabytes of weights, as they are."""
    network = build_network(resolve(read_configuration(MODELS / card.name / INFERENCE), NETWORK))
    count = sum(each.numel() for each in network.parameters()) / 1e6
    size = (MODELS / card.name / WEIGHTS).stat().st_size / 1e6
    page = in_a_row(card.name)
    said = re.search(r"(\d+\.\d+) million parameters, half-precision weights of (\d+\.\d) MB", page)
    assert said is not None
    assert abs(float(said[1]) - count) < 0.06 and abs(float(said[2]) - size) < 0.06


def test_pictures_that_a_page_shows_are_there_and_small(card: BundleCard) -> None:
    """Our own drawings; nothing of a data set is among them."""
    docs = MODELS / card.name / "docs"
    shown = set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text(card.name)))
    assert shown == {file.name for file in docs.iterdir()} - {"README.md"}
    assert all((docs / name).stat().st_size < 50_000 for name in shown)


def test_what_failed_a_shortcut_is_off() -> None:
    """A failed disguise stands in bold on a page; its model is off, and so is the one that misses its aims alone."""
    failed = {name for name in NAMES if re.search(r"\*\*0\.\d+\*\* \[|\| \*\*no\*\* \|", text(name))}
    assert failed == {"classifier", "pneumothorax"}
    off = {name for name in NAMES if not read_card(MODELS / name).enabled_by_default}
    assert off == failed | {"opacity"}
