"""The report as a person reads it on paper: headings and plain lines, what was found first.

Hides which statement stands where. Promises lines that follow from the study's result alone, hold no patient data, and
say what was not analysed and what is missing as plainly as what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cxrnode.domain.finding import Finding, ImageResult, ModelIdentity, Presence, StudyResult, summary_of
from cxrnode.domain.reasons import CAVEATS, RETRACTIONS
from cxrnode.domain.selection import View
from cxrnode.domain.wording import name_of, sentences
from cxrnode.evidence import codes

TITLE = "Automatic analysis of chest radiographs"
UNREAD = "A program wrote this. No physician has read or signed it."
UNNAMED = "The patient is named by the DICOM object that holds this page, not on it."

_VIEWS = {View.FRONTAL: "frontal view", View.UNSTATED: "view not stated"}
_DIGEST_DIGITS = 12
_LONGEST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it, a sentence a line."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is written, before anybody knows how wide paper is. `notice` stands at the top and at every foot."""

    title: str
    notice: str
    sections: tuple[Section, ...]


def page_of(study: StudyResult) -> Page:
    """Give the report of a study. Raises UnknownConcept for a finding that has no name."""
    numbered = (*(image.source for image in study.images), *(refused.source for refused in study.refused))
    numbers: dict[str, int] = {source.uid: number for number, source in enumerate(numbered, 1)}
    sections = [
        _section("Results taken back", _taken_back(study)),
        _section("In short", _in_short(study, numbers)),
        *(_section(_heading(image, numbers), _said(image)) for image in study.images),
        _section("Not analysed", _refused(study, numbers)),
        _section("Models", _models(study)),
        _section("About this report", _about(study)),
    ]
    return Page(title=TITLE, notice=codes.INTENDED_USE, sections=tuple(s for s in sections if s.lines))


def _section(title: str, lines: Iterable[str]) -> Section:
    """Take the lines over as what every font can draw."""
    return Section(title=title, lines=tuple(codes.plain(line.replace("²", "2"), _LONGEST) for line in lines))


def _taken_back(study: StudyResult) -> Iterator[str]:
    if study.retraction:
        yield f"The results were taken back, because {RETRACTIONS[study.retraction].text}."
        yield "Nothing that earlier reports say of these images holds any more:"
        yield from (f"Instance {source.uid}" for source in study.retracted)


def _in_short(study: StudyResult, numbers: Mapping[str, int]) -> Iterator[str]:
    """Say what is present, what nobody can say, what is absent and what is missing, before anything else."""
    for image in study.images:
        which = f"Image {numbers[image.source.uid]}, " if len(numbers) > 1 else ""
        for verdict in _verdicts(image):
            said = f"{which}{verdict}"
            yield said[:1].upper() + said[1:]
    if study.refused:
        yield f"Not analysed: {len(study.refused)} of {len(numbers)} images. The reason stands below."


def _verdicts(image: ImageResult) -> Iterator[str]:
    """Give a line for each judgment that there is, the present first, and one where a model is missing."""
    found = named_findings(image)
    for presence in (Presence.PRESENT, Presence.INDETERMINATE, Presence.ABSENT):
        names = [name for name, finding in found if finding.presence is presence]
        if names:
            yield f"{presence.value}: {'; '.join(names)}."
    if not found:
        yield "measured only: no finding was judged."
    if image.missing:
        models = " and ".join(model for model, _ in image.missing)
        yield f"without a result of the model {models}. The reason stands below."


def named_findings(image: ImageResult) -> list[tuple[str, Finding]]:
    """Give each finding with its name: sides, whose it is where several models speak of it, and a reserve."""
    times = Counter(finding.name for result in image.results for finding in result.findings)
    return [
        (_named(finding, result.model if times[finding.name] > 1 else None), finding)
        for result in image.results
        for finding in result.findings
    ]


def _named(finding: Finding, by: ModelIdentity | None) -> str:
    title = codes.abnormality(finding.name).title
    whose = [f"by the model {by.name}"] if by else []
    reserves = [name_of(finding.name).reserve, "off by default" if "withheld" in finding.caveats else ""]
    qualified = ", ".join(said for said in (" and ".join(finding.sides), *whose, *reserves) if said)
    return f"{title[:1].lower()}{title[1:]}" + (f" ({qualified})" if qualified else "")


def _heading(image: ImageResult, numbers: Mapping[str, int]) -> str:
    number = f"Image {numbers[image.source.uid]} of {len(numbers)}" if len(numbers) > 1 else "The image"
    return f"{number}, {_VIEWS.get(image.view, f'{image.view} view')}"


def _said(image: ImageResult) -> Iterator[str]:
    """Give all that is said of one image, in the words that an operator gets, and every caveat of a number once."""
    measured = (m for result in image.results for m in result.measurements)
    caveats = dict.fromkeys([*image.caveats, *(caveat for m in measured for caveat in m.caveats)])
    summary = {
        "results": [summary_of(result) for result in image.results],
        "missing": image.missing,
        "caveats": [CAVEATS[caveat] for caveat in caveats],
    }
    yield from sentences("", summary)
    yield f"Instance {image.source.uid}"


def _refused(study: StudyResult, numbers: Mapping[str, int]) -> Iterator[str]:
    for refused in study.refused:
        (why,) = sentences(refused.code, {})
        which = f"Image {numbers[refused.source.uid]}: " if len(numbers) > 1 else ""
        yield f"{which}{why}"
        yield f"Instance {refused.source.uid}"


def _models(study: StudyResult) -> Iterator[str]:
    results = [result for image in study.images for result in image.results]
    used = {model for result in results for model in (result.model, *result.leaning_on)}
    for model in sorted(used, key=lambda model: (model.name, model.version, model.digest, model.backend)):
        yield f"{model.name} {model.version}, digest {model.digest[:_DIGEST_DIGITS]}, on {model.backend}"


def _about(study: StudyResult) -> Iterator[str]:
    yield UNREAD
    yield UNNAMED
    yield f"Study {study.study_uid}"
    if study.predecessor:
        yield f"Revision {study.revision} of this report. It takes the place of report {study.predecessor}"
