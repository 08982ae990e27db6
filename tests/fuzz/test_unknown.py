"""Classes and transfer syntaxes that nobody here knows: a reason for each, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest

from cxrnode.domain.reasons import REASONS
from cxrnode.errors import Unsuitable
from cxrnode.pixels.decode import decode
from tests.bench import Bench
from tests.fuzz import elements, hostile
from tests.fuzz.test_strings import received

pytestmark = pytest.mark.filterwarnings("ignore")

CLASSES = {
    "private": "1.3.46.670589.11.0.0.12.2",
    "of another kind": "1.2.840.10008.5.1.4.1.1.104.1",
    "not of storage": "1.2.840.10008.1.1",
    "no UID": "=1+1",
    "none": "",
}
SYNTAXES = {
    "private": "1.2.840.113619.5.2",
    "MPEG": "1.2.840.10008.1.2.4.102",
    "unknown": "1.2.3.4.5",
    "no UID": "\x1b[2J",
    "withdrawn": "1.2.840.10008.1.2.4.52",
    "many frames": "1.2.840.10008.1.2.4.201",
}


@pytest.mark.parametrize("sop_class", CLASSES.values(), ids=list(CLASSES))
def test_a_class_that_nobody_knows_has_a_reason(sop_class: str, tmp_path: Path) -> None:
    """It is kept, recorded and not analysed; its study closes all the same."""
    bench = Bench(tmp_path)
    content = hostile.film(sop_class.encode(), attributes=frozenset({"SOPClassUID"}))
    received(bench, "film", content)
    bench.line.association_ended("a")
    bench.work(rounds=3)
    [view] = bench.ledger.outcomes()
    assert view.code in REASONS
    assert bench.archive.path(view.key).is_file()
    assert not bench.ledger.open_studies()
    bench.ledger.shut()


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=list(SYNTAXES))
def test_a_transfer_syntax_that_nobody_knows_is_refused_by_the_decoder(syntax: str, tmp_path: Path) -> None:
    """Its header is read as explicit little endian, as all of DICOM's newer ones are; its pixels are not guessed."""
    film = tmp_path / "film.dcm"
    film.write_bytes(elements.meta(syntax) + elements.header(more=elements.image()) + elements.pixels())
    with pytest.raises(Unsuitable) as refused:
        decode(film)
    assert refused.value.code in REASONS


def test_private_elements_are_passed_over(tmp_path: Path) -> None:
    """Of unknown VRs, without a creator, nested in one another: the film is known by what is public."""
    private = (
        elements.element(0x0029, 0x1010, "ZZ", b"unknown VR")
        + elements.element(0x0029, 0x1011, "UN", b"", length=elements.UNDEFINED)
        + elements.END_SEQUENCE
        + elements.element(0x0029, 0x1012, "OB", bytes(1000))
    )
    bench = Bench(tmp_path)
    image: Any = elements.meta() + elements.header(more=elements.image() + private) + elements.pixels()
    received(bench, "film", image)
    bench.line.association_ended("a")
    [view] = bench.ledger.outcomes()
    assert view.study_uid == "1.2.4"
    assert pydicom.dcmread(bench.archive.path(view.key)).SOPInstanceUID == "1.2.3"
    bench.ledger.shut()
