"""Answers to questions of several classes: counted as scikit-learn counts them, and within each source."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from cxrnode.training.evaluation.classification import (
    EVERYWHERE,
    Said,
    Stated,
    Statement,
    report_finding,
    report_question,
)

LABELS = ("covid19", "normal", "viral_pneumonia")


def answers(count: int = 120) -> list[Said]:
    """Films of one source with noisy answers; every tenth is a patient's second film."""
    rng = np.random.default_rng(3)
    films = []
    for number in range(count):
        truth = int(rng.integers(3))
        logits = rng.normal(0, 1.0, 3) + 1.2 * np.eye(3)[truth]
        said = np.exp(logits) / np.exp(logits).sum()
        films.append(Said(name=str(number), source="here", patient=str(number // 2), probabilities=said, truth=truth))
    return films


def test_each_class_is_counted_as_scikit_learn_counts_it() -> None:
    """Accuracy, precision, recall, F1, support, one-against-rest area, and the confusion matrix."""
    films = answers()
    (report,) = report_question(films, "pattern", LABELS)
    truth = np.array([film.truth for film in films])
    scores = np.stack([film.probabilities for film in films])
    said = scores.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(truth, said)
    assert report.accuracy is not None
    assert report.accuracy.value == pytest.approx(accuracy_score(truth, said))
    for index, one in enumerate(report.classes):
        assert one.precision is not None and one.recall is not None and one.f1 is not None and one.auc is not None
        assert one.precision.value == pytest.approx(precision[index])
        assert one.recall.value == pytest.approx(recall[index])
        assert one.f1.value == pytest.approx(f1[index])
        assert one.support == support[index]
        assert one.auc.value == pytest.approx(roc_auc_score(truth == index, scores[:, index]))
    assert report.macro_auc is not None
    assert report.macro_auc.value == pytest.approx(roc_auc_score(truth, scores, multi_class="ovr"))
    assert np.array(report.confusion).sum() == len(films)
    assert report.confusion[0][0] == np.count_nonzero((truth == 0) & (said == 0))


def test_an_answer_by_hospital_is_found_out_within_each_source() -> None:
    """A model that knows the source alone ranks well over all films and by chance within each."""
    rng = np.random.default_rng(4)
    films = []
    for number in range(400):
        source = "ward" if number % 2 else "screening"
        ill = rng.random() < (0.9 if source == "ward" else 0.1)
        said = (0.8 if source == "ward" else 0.2) + rng.normal(0, 0.05)
        films.append(
            Statement(name=str(number), source=source, patient=str(number), probability=float(said), truth=bool(ill))
        )
    stated = Stated(finding="lung_opacity", operating_point=0.5, low=0.4, high=0.6)
    overall, *within = report_finding(films, stated, "people")
    assert overall.source == EVERYWHERE
    assert overall.auc is not None
    assert overall.auc.value > 0.85
    for one in within:
        assert one.auc is not None
        assert 0.3 < one.auc.value < 0.7


def test_a_band_parts_the_called_from_the_cleared() -> None:
    """Of four films two lie outside the band on their right side, one within it."""
    said = [(0.9, True), (0.5, True), (0.1, False), (0.7, False)]
    films = [
        Statement(name=str(n), source="here", patient=str(n), probability=p, truth=t) for n, (p, t) in enumerate(said)
    ]
    stated = Stated(finding="pneumothorax", operating_point=0.5, low=0.3, high=0.6)
    (report,) = report_finding(films, stated, "people")
    rates = (report.called, report.cleared, report.indeterminate, report.sensitivity, report.specificity)
    assert [one.value for one in rates if one is not None] == [0.5, 0.5, 0.25, 1.0, 0.5]
