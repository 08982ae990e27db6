"""Reading storage commitment reports as archives really write them."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from cxrnode.dimse import commitment


def test_report_without_sequences_is_read():
    """A report that names only its transaction says nothing of any instance."""
    information = Dataset()
    information.TransactionUID = "1.2.3"
    assert commitment.read_report(information) == commitment.CommitmentReport(
        transaction_uid="1.2.3", committed=(), failed={}
    )


def test_instance_in_both_sequences_counts_as_failed():
    """What is both committed and failed is failed; a missing reason is a processing failure."""
    information = commitment.request("1.2.3", [("1.2", "1.5"), ("1.2", "1.6")])
    information.FailedSOPSequence = [commitment.reference("1.2", "1.6")]
    report = commitment.read_report(information)
    assert report.committed == ("1.5",)
    assert report.failed == {"1.6": commitment.PROCESSING_FAILURE}


def test_report_without_transaction_is_refused():
    """A report that names no transaction cannot be matched with anything."""
    with pytest.raises(ValueError, match="Transaction UID"):
        commitment.read_report(Dataset())
