"""The conformance statement: fresh, complete, and made of the tables that the program runs on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from typer.testing import CliRunner

from cxrnode.cli import daemon  # noqa: F401 - adds its command to `app`
from cxrnode.cli.app import app
from cxrnode.conformance import concepts, content, document, network, parameters, statement
from cxrnode.conformance.attributes import Row, rows_of, shared
from cxrnode.conformance.samples import Samples, compose
from cxrnode.conformance.trees import outline
from cxrnode.dimse import contexts, status
from cxrnode.domain import capability, reasons
from cxrnode.domain.capability import NAMES, Kind
from cxrnode.errors import Retryable
from cxrnode.evidence import codes, headers, key_objects

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def said() -> str:
    """The statement of this version."""
    return statement()


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Every kind of object, composed of made-up studies."""
    return compose()


def row(rows: list[Row], *keywords: str) -> Row:
    """Give the row of one attribute."""
    path = tuple(tag_for_keyword(keyword) for keyword in keywords)
    return next(one for one in rows if one.path == path)


def test_the_command_prints_the_statement(said):
    """As Markdown, on standard output, without settings."""
    told = CliRunner().invoke(app, ["conformance"])
    assert (told.exit_code, told.stdout) == (0, said)


def test_the_page_is_fresh(said):
    """Who changes a class, a status, a code or an attribute changes the page with it."""
    fresh = PAGE.read_text(encoding="utf-8") == said
    assert fresh, "docs/conformance.md is not fresh: run `make conformance`, and read what changed"


def test_the_statement_is_plain_text(said):
    """It is read on whatever there is."""
    assert said.isascii()
    assert said.endswith("\n")
    assert "{{" not in said


def test_every_class_syntax_and_code_is_in_it(said):
    """An integrator looks for a UID or a code and finds it."""
    assert [uid for uid in (*NAMES, *contexts.SOURCE_CLASSES) if f"`{uid}`" not in said] == []
    assert [uid for uid in contexts.TRANSFER_SYNTAXES if f"`{uid}`" not in said] == []
    assert [code.value for code in concepts.private_codes() if f"| `{code.value}` | {code.meaning} |" not in said] == []


def test_every_private_code_of_every_object_is_listed(samples):
    """The list is not only complete by its own lights: no composed object holds a private code that it lacks."""
    used = {code for kind in Kind for held in samples.of(kind) for code in _private_codes_in(held)}
    assert used >= {"NOTANALYSED", "NORESULT", "TAKENBACK", "CTR", "ABSENTBELOW", "WRONGRESULT"}
    assert used <= {code.value for code in concepts.private_codes()}


def _private_codes_in(held: Dataset) -> set[str]:
    found = (
        {held.CodeValue}
        if held.get("CodingSchemeDesignator") == codes.PRIVATE_SCHEME and "CodeValue" in held
        else set()
    )
    for element in held:
        if element.VR == "SQ":
            found |= {code for item in element.value for code in _private_codes_in(item)}
    return found


@pytest.mark.parametrize(
    ("module", "name", "changed", "printed", "says"),
    [
        (
            status,
            "NEXT",
            ((0xD000, 0xD001, Retryable, "what nobody knew"), *status.NEXT),
            network.received,
            "| 0xD000 to 0xD001 | what nobody knew | tried again, at growing intervals |",
        ),
        (contexts, "TRANSFER_SYNTAXES", ("1.2.840.10008.1.2.4.201",), network.transfer_syntaxes, "High-Throughput"),
        (contexts, "SOURCE_CLASSES", (CTImageStorage,), network.accepted, f"| CT Image | `{CTImageStorage}` | all"),
        (contexts, "EVIDENCE_CLASSES", (CTImageStorage,), network.proposed, f"| CT Image | `{CTImageStorage}` | Exp"),
        (network, "MAXIMUM_PDU", 16384, network.association, "16384 bytes"),
        (network, "REJECTED", {(2, 1, 1): "it rains"}, network.rejected, "| it rains | transient | 1 | 1 |"),
    ],
)
def test_a_table_that_changes_changes_what_is_printed(monkeypatch, module, name, changed, printed, says):
    """What is printed is read in the tables at that moment."""
    assert says not in printed()
    monkeypatch.setattr(module, name, changed)
    assert says in printed()


def test_an_object_that_changes_changes_the_statement(monkeypatch, said):
    """Attributes are not written down anywhere: they are read in objects that are composed for it."""
    monkeypatch.setattr(key_objects, "SERIES_NUMBER", 4711)
    monkeypatch.setattr(headers, "_WHERE_STATED", ("SpecificCharacterSet", "PatientAge"))
    changed = statement()
    assert "| KO | 4711 | cxrnode key images |" in changed
    assert "| Patient's Age | (0010,1010) |" in changed
    assert "| Patient's Size |" in said
    assert "| Patient's Size |" not in changed


@pytest.mark.parametrize(
    ("table", "key", "entry", "printed", "says"),
    [
        (capability.INSTEAD, Kind.KOS, (Kind.SC,), content.fallbacks, "| KOS | SC |"),
        (
            reasons.CAVEATS,
            "new",
            "Something to bear in mind",
            concepts.caveats,
            "| `new` | Something to bear in mind |",
        ),
        (
            reasons.REASONS,
            "new_reason",
            reasons.Reason(text="it is new; nobody knows", candidate=True),
            concepts.private,
            "| `NEWREASON` | it is new |",
        ),
        (
            reasons.RETRACTIONS,
            "new_reason",
            reasons.Retraction(text="they are new", unsafe=True),
            content.retractions,
            "| `new_reason` | they are new | the node itself",
        ),
        (
            codes.ABNORMALITIES,
            "nodule",
            replace(codes.ABNORMALITIES["pneumothorax"], title="Nodule", site=codes.THORAX),
            concepts.findings,
            "| Nodule | (36118008",
        ),
        (
            codes.QUANTITIES,
            ("width", "1"),
            replace(codes.PROBABILITY, title="Width"),
            concepts.quantities,
            "| Width | (122157",
        ),
    ],
)
def test_an_entry_that_is_added_is_printed(monkeypatch, table, key, entry, printed: Callable[[], str], says):
    """A new finding, reason or fallback needs no second place."""
    assert says not in printed()
    monkeypatch.setitem(table, key, entry)
    assert says in printed()


def test_every_kind_of_object_is_composed_and_explained(samples):
    """A kind without a sample, or without words, would be missing from the statement without anybody seeing it."""
    assert [kind for kind in Kind if not samples.of(kind)] == []
    assert set(content.MEANT) == set(Kind)


def test_every_setting_that_is_listed_is_explained():
    """A setting without a word on it is not documented; a word on a setting that is gone is wrong."""
    listed = parameters.names("node", "listener", "tls", "studies", "models", "line", "destinations", "rules")
    assert set(parameters.MEANT) == set(listed)
    assert "`destinations.rejection_notes` | `retraction`" in parameters.destinations()
    assert "`node.state_dir` | by the machine" in parameters.general()


def test_what_is_taken_over_is_told_from_what_is_fixed_or_configured(samples):
    """The source of a value is found by what it changes with."""
    rows = rows_of(samples, Kind.SEG)
    assert row(rows, "PatientName").source == "SRC"
    assert row(rows, "PatientName").presence == "VNAP"
    assert row(rows, "PatientName").type == "2"
    assert row(rows, "IssuerOfPatientID").presence == "ANAP"
    assert (row(rows, "Modality").source, row(rows, "Modality").value) == ("FIXED", "`SEG`")
    assert row(rows, "DeviceSerialNumber").source == "CONFIG"
    assert row(rows, "ContentDate").source == "MOMENT"
    assert row(rows, "SOPInstanceUID").source == "AUTO"
    assert row(rows, "SoftwareVersions").value == "`<version>`"
    assert row(rows, "SegmentSequence", "SegmentNumber").source == "AUTO"
    assert row(rows, "SegmentSequence", "SegmentAlgorithmType").value == "`AUTOMATIC`"


def test_plane_groups_are_said_to_be_there_for_some_destinations_only(samples):
    """The geometry of a destination decides, so that a reader cannot rely on them."""
    rows = rows_of(samples, Kind.SEG)
    assert row(rows, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence").presence == "ANAP"


def test_what_all_objects_share_is_the_patient_the_study_and_the_equipment(samples):
    """Everything that is taken over of patient and study is in every kind of object."""
    names = {one.cells[0] for one in shared({kind: rows_of(samples, kind) for kind in Kind})}
    assert {"Patient's Name", "Study Instance UID", "Accession Number", "Manufacturer", "Software Versions"} <= names
    assert "Modality" not in names


def test_the_outline_of_a_report_holds_what_its_samples_hold(samples):
    """Each kind of item once, below the item that it stands under, with what never changes."""
    lines = outline(samples.of(Kind.SR))
    assert lines[0] == 'CONTAINER (126000, DCM, "Imaging Measurement Report") TID 1500'
    assert sum('(112040, DCM, "Tracking Unique Identifier")' in line for line in lines) == 1
    assert '      HAS OBS CONTEXT UIDREF (112040, DCM, "Tracking Unique Identifier")' in lines
    assert '      CONTAINS IMAGE (121214, DCM, "Referenced Segmentation Frame")' in lines
    assert any(line.endswith('= (363679005, SCT, "Imaging procedure")') for line in lines)


def test_a_place_that_nothing_fills_is_an_error():
    """A misspelt name in the prose would leave a hole in the page."""
    with pytest.raises(ValueError, match=r"\['hole'\]"):
        document.filled("a {{hole}}", {})
    with pytest.raises(ValueError, match=r"\['stray'\]"):
        document.filled("no place", {"stray": "text"})


def test_the_sections_are_numbered_as_annex_n_numbers_them(said):
    """Who knows the template finds a subject where the template has it."""
    numbers = re.findall(r"^## (.+)$", said, flags=re.MULTILINE)
    assert [title.split()[0] for title in numbers[:8]] == [str(number) for number in range(1, 9)]
    assert numbers[8:] == ["Annex A", "Annex B: IHE integration statement"]


def test_what_the_ihe_statement_says_of_the_objects_is_so(samples):
    """Each row of B.1 that speaks of an attribute is held to a composed object."""
    report = samples.full.objects[Kind.SR][0]
    equipment = report.ContributingEquipmentSequence
    wanted = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceUID")
    assert all(keyword in item for item in equipment for keyword in wanted)
    assert {item.PurposeOfReferenceCodeSequence[0].CodeValue for item in equipment} == {"109102"}
    assert UID(report.SOPClassUID).name == "Comprehensive 3D SR Storage"
    tracked = {item.TrackingUID for seg in samples.full.objects[Kind.SEG] for item in seg.SegmentSequence}
    assert tracked <= _uids_in(report)
    assert network.not_offered().count("0x") == len(status.NOT_OFFERED)


def _uids_in(held: Dataset) -> set[str]:
    found = {str(held.UID)} if "UID" in held else set()
    for item in held.get("ContentSequence") or ():
        found |= _uids_in(item)
    return found
