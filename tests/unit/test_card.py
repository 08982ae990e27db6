"""What a bundle's own block may say, and what of it makes another model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import METADATA, read_card
from cxrnode.inference.card import BoxRule, Calibration, Kind
from tests.fakes.bundle import write_tiny_bundle

PUBLISHED = Path(__file__).parents[1] / "published"
"""Cards of bundles as they were released, without their weights."""
LUNGS_1_0_0 = "ac089b526844d8980c3a5a81b07f36fbf2ed6ca05c884116f5864c31276d9c22"

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bundles")
    kinds: tuple[Kind, ...] = ("segmentation", "classification", "detection")
    return {kind: write_tiny_bundle(root / kind, kind=kind) for kind in kinds}


@pytest.fixture
def changed(folders: dict[str, Path], tmp_path: Path) -> Callable[[str, Change], Path]:
    """Give a copy of a kind's bundle, without weights, whose metadata are changed."""

    def copy(kind: str, change: Change) -> Path:
        (tmp_path / "configs").mkdir(exist_ok=True)
        for file in (folders[kind] / "configs").iterdir():
            content = json.loads(file.read_text())
            if file.name == METADATA.name:
                change(content)
            (tmp_path / "configs" / file.name).write_text(json.dumps(content))
        return tmp_path

    return copy


def test_a_classifications_card_says_how_its_logits_are_read(folders: dict[str, Path]) -> None:
    """Groups, calibration and findings; operating points are not needed."""
    card = read_card(folders["classification"])
    assert (card.kind, card.operating_points, card.boxes) == ("classification", {}, None)
    assert card.groups == (("rsna.lung_opacity", "rsna.not_normal", "rsna.normal"),)
    assert card.calibration == {"rsna.lung_opacity": Calibration(scale=1.5, bias=-0.5)}
    opacity, abnormal, covid = card.findings
    assert (opacity.channel, opacity.inverse, opacity.low, opacity.high) == ("rsna.lung_opacity", False, 0.4, 0.6)
    assert (abnormal.channel, abnormal.inverse) == ("rsna.normal", True)
    assert covid.withheld == "never trained"


def test_a_detections_labels_are_its_channels_but_for_the_corners(folders: dict[str, Path]) -> None:
    """The last four channels are a box."""
    card = read_card(folders["detection"])
    assert card.labels == ("lung_opacity",)
    assert card.boxes == BoxRule(overlap=0.3, most=8)
    assert card.thresholds == (0.001,)


def test_a_card_may_say_when_a_box_inside_another_is_one_with_it(changed: Callable[[str, Change], Path]) -> None:
    """Without the word there is no such rule; with it the model is another one."""
    said = {"overlap": 0.3, "most": 8, "inside": 0.7}
    without = read_card(changed("detection", own()))
    card = read_card(changed("detection", own(detection=said)))
    assert card.boxes == BoxRule(overlap=0.3, most=8, inside=0.7)
    assert without.boxes == BoxRule(overlap=0.3, most=8, inside=None)
    assert card.digest != without.digest


def test_a_model_may_be_off_by_default_with_the_reason(changed: Callable[[str, Change], Path]) -> None:
    """The reason is part of the card, and without one the card is refused."""
    off = {"enabled_by_default": False, "disabled_because": "not good enough"}
    card = read_card(changed("detection", lambda said: said["cxrnode"].update(off)))
    assert (card.enabled_by_default, card.disabled_because) == (False, "not good enough")
    with pytest.raises(NeedsOperator, match="says in disabled_because why"):
        read_card(changed("detection", lambda said: said["cxrnode"].update(enabled_by_default=False)))


def own(**said: Any) -> Change:
    return lambda metadata: metadata["cxrnode"].update(said)


def image(**said: Any) -> Change:
    return lambda metadata: metadata["network_data_format"]["inputs"]["image"].update(said)


def output(**said: Any) -> Change:
    return lambda metadata: metadata["network_data_format"]["outputs"]["pred"].update(said)


def finding(**said: Any) -> Change:
    return lambda metadata: metadata["cxrnode"]["findings"]["lung_opacity"].update(said)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("classification", own(kind="regression"), "kind is one of"),
        ("classification", own(calibraton={}), "unknown word 'calibraton'"),
        ("classification", finding(lowest=0.1), "unknown word 'lowest'"),
        ("classification", own(groups=[["rsna.normal"]]), "two channels or more"),
        ("classification", own(groups=[["rsna.normal", "pattern.flu"]]), "no channel 'pattern.flu'"),
        ("classification", own(calibration={"rsna.normal": {"scale": 0}}), "scale is positive"),
        ("classification", own(calibration={"flu": {}}), "no channel 'flu'"),
        ("classification", finding(channel="flu"), "no channel 'flu'"),
        ("classification", finding(low=0.6), "in order"),
        ("classification", finding(operating_point=1.0), "between 0 and 1"),
        ("classification", finding(holds_for="dogs"), "holds_for is adults"),
        ("classification", finding(top_share=0.1), "top_share is said of a segmentation"),
        ("classification", finding(inverse="no"), "true or false"),
        ("segmentation", own(operating_points={"right_lung": 0.5}), "left_lung"),
        ("segmentation", own(groups=[["right_lung", "heart"]]), "only a classification"),
        ("segmentation", own(findings={"x": {"channel": "heart"}}), "top_share is said of a segmentation"),
        ("detection", lambda said: said["cxrnode"].pop("detection"), "detection"),
        ("detection", own(detection={"overlap": 0.3, "most": 0}), "1 to 100 boxes"),
        ("detection", own(detection={"overlap": 0.3, "most": 8, "inside": 1.0}), "between 0 and 1"),
        ("detection", own(operating_points={}), "lung_opacity"),
        ("segmentation", own(kind="detection"), "the last channels of a detection"),
        ("detection", own(detection={"overlap": 0.3, "most": float("inf")}), "line 1: it cannot be used"),
        ("classification", own(calibration={"rsna.normal": {"scale": 10**400}}), "line 1: it cannot be used"),
        ("classification", lambda said: said["cxrnode"].pop("licence"), "line 1: 'licence' is missing"),
        ("classification", own(licence="\x1b[2Jfree"), "characters that would not be seen"),
        ("classification", own(enabled_by_default=False, disabled_because="\u202eno"), "would not be seen"),
        ("classification", lambda said: said.update(version="1\n2"), "would not be seen"),
        ("classification", lambda said: said.pop("task"), "'task' is missing"),
        ("classification", image(spatial_shape=["16*n", "16*n"]), "must be one square gray picture"),
        ("classification", image(spatial_shape=[96, 96, 96]), r"gray picture.*not 1 and \[96, 96, 96\]"),
        ("classification", image(num_channels=3), "must be one square gray picture"),
        ("classification", output(num_channels=float("inf")), "names every channel"),
        ("classification", output(num_channels=0, channel_def={}), "names every channel"),
        ("classification", output(num_channels=3), "names every channel"),
        ("classification", output(channel_def=["a", "b"]), "names every channel"),
        ("classification", lambda said: said["network_data_format"].pop("outputs"), "'outputs' is missing"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(
    changed: Callable[[str, Change], Path], kind: str, change: Change, message: str
) -> None:
    """Whatever could be read in two ways, or not at all, is named."""
    with pytest.raises(NeedsOperator, match=message):
        read_card(changed(kind, change))


@pytest.mark.parametrize(
    "change",
    [
        own(groups=[]),
        own(calibration={"rsna.lung_opacity": {"scale": 1.5, "bias": -0.4}}),
        finding(low=0.3),
        finding(holds_for="adults"),
        finding(withheld="too few films"),
        lambda said: said["cxrnode"]["findings"].pop("abnormal_chest"),
    ],
)
def test_what_changes_an_answer_makes_another_model(
    folders: dict[str, Path], changed: Callable[[str, Change], Path], change: Change
) -> None:
    """Calibration, bands, and whether a finding is stated are in the digest."""
    assert read_card(changed("classification", change)).digest != read_card(folders["classification"]).digest


@pytest.mark.parametrize(
    "change",
    [
        finding(chosen_for="a better reason"),
        lambda said: said["cxrnode"]["findings"]["covid19_pneumonia"].update(withheld="other words"),
        own(enabled_by_default=False, disabled_because="being tried"),
    ],
)
def test_prose_and_defaults_do_not_make_another_model(
    folders: dict[str, Path], changed: Callable[[str, Change], Path], change: Change
) -> None:
    """A model that is switched on and off writes the same objects."""
    assert read_card(changed("classification", change)).digest == read_card(folders["classification"]).digest


def test_the_first_cards_digest_is_what_it_was() -> None:
    """Objects made with lungs 1.0.0 keep their identity: its card, as it was published, reads to the same digest."""
    assert read_card(PUBLISHED / "lungs-1.0.0").digest == LUNGS_1_0_0
