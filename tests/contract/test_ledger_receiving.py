"""Recording instances: what is told from what, and what a study makes of it."""

from __future__ import annotations

from dataclasses import replace

from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JobState
from cxrnode.domain.study import Patient, Recorded
from cxrnode.ledger import SqliteLedger
from tests.fakes.instances import (
    CT,
    JPEG_LS,
    MODALITY,
    NOON,
    OTHER_STUDY,
    STUDY,
    after,
    claim_one,
    close,
    completion,
    described,
    kept,
    record,
    sha,
)


def test_an_instance_comes_back_as_it_was_recorded(ledger: SqliteLedger) -> None:
    """Every value of the description, the sender, the key and the time survives the file."""
    facts = replace(CT, spacing=(0.143, 0.143), image_type=("DERIVED", "PRIMARY"), words="THORAX\u00c4")
    description = described(facts=facts, patient=Patient(patient_id="x", name="M\u00fcller^J\u00f6rg"))
    assert record(ledger, description, 1.25) is Recorded.NEW
    (instance,) = ledger.membership(STUDY).instances
    assert instance.description == description
    assert instance.sender == MODALITY
    assert instance.key == f"sources/{description.bytes_digest}.dcm"
    assert instance.received_at == after(1.25)


def test_looking_for_a_twin_tells_what_recording_will_say_and_writes_nothing(ledger: SqliteLedger) -> None:
    """`find_twin` and `record` agree on each kind of arrival."""
    record(ledger, described())
    arrivals = {
        Recorded.DUPLICATE: described(),
        Recorded.REVISION: described(header="corrected"),
        Recorded.RECODED: described(transfer_syntax_uid=JPEG_LS),
        Recorded.CONFLICT: described(pixels="other"),
        Recorded.NEW: described("1.2.3.2"),
    }
    for expected, arrival in arrivals.items():
        assert ledger.find_twin(arrival) is expected
        assert ledger.find_twin(arrival) is expected
        assert record(ledger, arrival, candidate=False) is expected


def test_a_duplicate_changes_nothing(ledger: SqliteLedger) -> None:
    """The same content again neither adds a row nor keeps the study from closing."""
    record(ledger, described())
    before = ledger.membership(STUDY)
    assert record(ledger, described(), 30) is Recorded.DUPLICATE
    assert ledger.membership(STUDY) == before
    assert ledger.open_studies() == [(STUDY, NOON)]


def test_bytes_of_a_replaced_revision_are_still_a_duplicate(ledger: SqliteLedger) -> None:
    """A modality that sends the uncorrected header again does not undo the correction."""
    record(ledger, described(header="wrong name"))
    record(ledger, described(header="right name"))
    assert record(ledger, described(header="wrong name")) is Recorded.DUPLICATE
    (current,) = ledger.membership(STUDY).instances
    assert current.description.header_digest == sha("right name")


def test_a_revision_replaces_the_current_one_and_reopens_the_study(ledger: SqliteLedger) -> None:
    """A corrected name under the same pixels is analysed again under its new header."""
    record(ledger, described())
    close(ledger)
    assert ledger.open_studies() == []
    assert record(ledger, described(header="corrected"), 60) is Recorded.REVISION
    assert ledger.open_studies() == [(STUDY, after(60))]
    (current,) = ledger.membership(STUDY).instances
    assert current.description.header_digest == sha("corrected")


def test_a_recoded_copy_is_kept_beside_the_current_one(ledger: SqliteLedger) -> None:
    """Another transfer syntax adds no member and reopens nothing."""
    record(ledger, described())
    close(ledger)
    assert record(ledger, described(transfer_syntax_uid=JPEG_LS), 60) is Recorded.RECODED
    assert ledger.open_studies() == []
    (current,) = ledger.membership(STUDY).instances
    assert current.description.transfer_syntax_uid != JPEG_LS


def test_a_new_candidate_reopens_its_study(ledger: SqliteLedger) -> None:
    """A lateral that comes late moves the study's generation on and opens it again."""
    record(ledger, described())
    close(ledger)
    generation = ledger.membership(STUDY).generation
    record(ledger, described("1.2.3.2"), 60)
    assert ledger.open_studies() == [(STUDY, after(60))]
    assert ledger.membership(STUDY).generation == generation + 1


def test_what_is_no_candidate_joins_a_closed_study_silently_with_its_verdict(ledger: SqliteLedger) -> None:
    """A CT that comes late does not reopen the study, and still has its own reason."""
    record(ledger, described())
    close(ledger)
    record(ledger, described("1.2.3.2", facts=CT), 60, candidate=False)
    assert ledger.open_studies() == []
    assert [view.code for view in ledger.outcomes()] == ["", "modality"]


def test_what_is_no_candidate_opens_a_study_of_its_own(ledger: SqliteLedger) -> None:
    """A study of CT only is closed like any other, so that each image gets its verdict."""
    record(ledger, described(facts=CT), candidate=False)
    assert ledger.open_studies() == [(STUDY, NOON)]


def test_what_is_no_candidate_fences_a_closing_that_has_not_seen_it(ledger: SqliteLedger) -> None:
    """An instance that joins an open study while it is being closed is not left without a verdict."""
    record(ledger, described())
    seen = ledger.membership(STUDY)
    record(ledger, described("1.2.3.2", facts=CT), 1, candidate=False)
    assert ledger.close(seen, [], models=["lungs"], destinations=[], now=after(2), schedule=True) is None
    assert ledger.open_studies() == [(STUDY, after(1))]


def test_an_unreadable_instance_belongs_to_no_study_and_has_its_verdict(ledger: SqliteLedger) -> None:
    """What cannot be read is recorded at once with its reason, and known when it comes again."""
    broken = described(study_uid=StudyUID(""), unreadable="unreadable_header")
    assert record(ledger, broken) is Recorded.NEW
    assert record(ledger, broken) is Recorded.DUPLICATE
    assert ledger.open_studies() == []
    assert [(view.study_uid, view.code) for view in ledger.outcomes()] == [("", "unreadable_header")]


def test_two_unreadable_instances_without_uids_are_told_apart_by_their_bytes(ledger: SqliteLedger) -> None:
    """Files that are no DICOM at all share the empty UID and are still two."""
    for content in ("a", "b"):
        broken = described("", pixels=content, study_uid=StudyUID(""), unreadable="not_dicom")
        assert record(ledger, broken) is Recorded.NEW
    assert [view.code for view in ledger.outcomes()] == ["not_dicom", "not_dicom"]


def test_a_readable_instance_is_not_a_conflict_with_a_broken_one_of_its_uid(ledger: SqliteLedger) -> None:
    """A transfer that arrived damaged first does not keep the sound one from being analysed."""
    record(ledger, described(header="", pixels="", study_uid=StudyUID(""), unreadable="unreadable_header"))
    assert record(ledger, described()) is Recorded.NEW
    assert len(ledger.membership(STUDY).instances) == 1


def test_a_header_without_a_study_has_a_reason_of_its_own(ledger: SqliteLedger) -> None:
    """Readable, but in no study: recorded with `no_study`."""
    record(ledger, described(study_uid=StudyUID("")))
    assert [view.code for view in ledger.outcomes()] == ["no_study"]


def test_a_corrected_study_uid_moves_the_image(ledger: SqliteLedger) -> None:
    """SOP Instance UIDs are global: the image is a member of the new study only, and the empty one is closed."""
    record(ledger, described())
    moved = described(header="corrected study", study_uid=OTHER_STUDY)
    assert record(ledger, moved, 5) is Recorded.REVISION
    assert ledger.membership(STUDY).instances == ()
    assert [instance.description for instance in ledger.membership(OTHER_STUDY).instances] == [moved]
    assert ledger.open_studies() == [(OTHER_STUDY, after(5))]


def test_a_conflict_makes_a_parked_job_that_keeps_the_first_pixels(ledger: SqliteLedger) -> None:
    """Other pixels under a known UID are kept; a person sees a parked job; retrying it analyses what came first."""
    record(ledger, described())
    close(ledger)
    ledger.complete(claim := claim_one(ledger), completion(claim, kept("9.1")), NOON)
    assert record(ledger, described(pixels="other"), 60) is Recorded.CONFLICT
    assert ledger.open_studies() == [(STUDY, after(60))]

    job = close(ledger, seconds=65)
    assert job is not None
    (parked,) = ledger.find_jobs(state=JobState.PARKED)
    assert (parked.job, parked.reason) == (job, "conflict")
    assert ledger.claim_jobs(after(70), limit=1, lease_seconds=60) == []

    ledger.requeue_job(job, after(80))
    retried = claim_one(ledger, 80)
    assert [member.description for member in retried.members] == [described()]
    ledger.complete(retried, completion(retried, kept("9.1")), after(81))
    assert len(ledger.evidence_of(STUDY)) == 1


def test_a_settled_conflict_parks_no_later_job(ledger: SqliteLedger) -> None:
    """Once a person has looked, a late lateral is analysed like any other."""
    record(ledger, described())
    record(ledger, described(pixels="other"))
    job = close(ledger)
    assert job is not None
    ledger.requeue_job(job, NOON)
    record(ledger, described("1.2.3.2"), 60)
    close(ledger, seconds=65)
    assert len(claim_one(ledger, 65).members) == 2


def test_a_conflict_withdraws_the_job_that_has_not_begun(ledger: SqliteLedger) -> None:
    """A job that waits is replaced by the parked one when the study closes again."""
    record(ledger, described())
    first = close(ledger)
    record(ledger, described(pixels="other"), 1)
    second = close(ledger, seconds=2)
    assert {view.job: view.state for view in ledger.find_jobs()} == {first: JobState.CANCELED, second: JobState.PARKED}


def test_a_conflict_of_what_is_no_candidate_parks_nothing(ledger: SqliteLedger) -> None:
    """Two CT slices under one UID are no reason to keep a chest from being analysed."""
    record(ledger, described())
    record(ledger, described("1.2.3.2", facts=CT), candidate=False)
    record(ledger, described("1.2.3.2", facts=CT, pixels="other"), candidate=False)
    close(ledger)
    assert len(claim_one(ledger).members) == 2


def test_keys_without_a_row_are_found(ledger: SqliteLedger) -> None:
    """Of all finished files, those that no row names are adopted; their order is kept."""
    record(ledger, described())
    known = ledger.membership(STUDY).instances[0].key
    assert ledger.unknown_keys(["z", known, "a", 'it\'s "quoted"']) == ["z", "a", 'it\'s "quoted"']
    assert ledger.unknown_keys([]) == []


def test_a_study_is_found_by_what_its_newest_header_states(ledger: SqliteLedger) -> None:
    """A corrected accession number finds the study; what the correction leaves out stays."""
    record(ledger, described())
    record(ledger, described(header="corrected", patient=Patient(accession_number="A2")), 1)
    close(ledger)
    assert len(ledger.find_jobs(accession="A2", patient_id="4711")) == 1
    assert ledger.find_jobs(accession="A1") == ()
