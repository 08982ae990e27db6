"""Compose: the evidence of a job, for each destination what it takes.

Hides which evidence is there already, and which destinations get the same. Promises that what is kept wins over
composing again (law 4), that a study which says the same again gets the same report again, that no object leaves which
the node's own inspection objects to, and that what a destination does not get is said.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxrnode.domain.capability import Choice, Kind, ReportClass, choose
from cxrnode.domain.delivery import Destination, Geometry, RejectionNotes
from cxrnode.domain.finding import ImageResult, RefusedImage, StudyResult
from cxrnode.domain.reasons import REASONS
from cxrnode.domain.study import Instance
from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Archive, Claim, Composer, Draft, KeptEvidence, Picture, StatedEvidence
from cxrnode.telemetry import Event, tell

Accepted = Callable[[str], Collection[str] | None]
"""The SOP classes that a destination takes, by its name; None where nobody knows yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """What a job's evidence came to; `fallbacks` by destination."""

    evidence: tuple[KeptEvidence, ...] = ()
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Composing:
    """Makes and keeps the evidence of a job."""

    def __init__(self, *, plan: Plan, archive: Archive, composer: Composer, accepted: Accepted) -> None:
        """Compose it over its ports."""
        self._plan = plan
        self._archive = archive
        self._composer = composer
        self._accepted = accepted

    def needs_pictures(self, claim: Claim) -> bool:
        """Tell whether a destination gets images with something burned in."""
        choices = list(self._chosen(claim).values()) or [self._kept_here()]
        return any(Kind.SC in choice.kinds for choice in choices)

    def compose(
        self,
        claim: Claim,
        images: Sequence[ImageResult],
        refused: Sequence[RefusedImage],
        previews: Mapping[int, Picture],
    ) -> Composed:
        """Give the evidence of these statements, kept; none where nobody wants to hear that nothing was analysed.

        `previews`: the display image of each analysed source, by its row, where pictures are needed.
        """
        chosen = self._chosen(claim)
        told = tuple(sorted((r for r in refused if REASONS[r.code].candidate), key=lambda r: r.source.uid))
        if not images:
            chosen = {d.name: chosen[d.name] for d in self._destinations(claim) if d.not_analysed}
        if not images and not (told and chosen):
            return Composed()
        study = StudyResult(
            study_uid=claim.study_uid,
            images=tuple(sorted(images, key=lambda image: image.source.uid)),
            refused=told,
        )
        kept = self._compose_all(claim, study, chosen, previews)
        now_stated = {one.sop_instance_uid for one in kept}
        before = [one for one in claim.superseded if one.sop_instance_uid not in now_stated]
        notes = self._rejections(claim, study, chosen, before, "superseded")
        return Composed(evidence=(*kept, *notes), fallbacks=_fallbacks(chosen))

    def retract(self, claim: Claim) -> Composed:
        """Give what takes back the evidence of the job that `claim` retracts: a report, and notes of rejection."""
        assert claim.retracts is not None  # the caller looked
        chosen = self._chosen(claim)
        analysed = tuple(member for member in claim.members if not claim.verdicts[member.row]) or claim.members
        study = StudyResult(
            study_uid=claim.study_uid,
            images=(),
            retraction=claim.retracts.because,
            retracted=tuple(sorted(analysed, key=lambda source: source.uid)),
        )
        kept = self._compose_all(claim, study, chosen, {})
        notes = self._rejections(claim, study, chosen, claim.retracts.evidence, claim.retracts.because)
        return Composed(evidence=(*kept, *notes), fallbacks=_fallbacks(chosen))

    def _destinations(self, claim: Claim) -> list[Destination]:
        return [d for d in self._plan.destinations if d.name in claim.destinations]

    def _chosen(self, claim: Claim) -> dict[str, Choice]:
        return {d.name: choose(d, self._accepted(d.name)) for d in self._destinations(claim)}

    def _kept_here(self) -> Choice:
        """What is composed where no destination gets it: evidence is kept even then."""
        kinds = tuple(kind for kind in Kind if kind in self._plan.objects)
        return Choice(kinds=kinds, report_class=ReportClass.COMPREHENSIVE_3D, geometry=Geometry.VIEWER)

    def _compose_all(
        self, claim: Claim, study: StudyResult, chosen: Mapping[str, Choice], previews: Mapping[int, Picture]
    ) -> list[KeptEvidence]:
        """Compose once for destinations that get the same; an object that several compositions share is one."""
        kept: dict[str, KeptEvidence] = {}
        for choice, names in _grouped(claim, chosen) or [(self._kept_here(), ())]:
            in_its_line = self._in_its_line(study, choice, _before(claim, choice, names))
            for one in self._compose_for(in_its_line, choice, names, previews):
                known = kept.get(one.sop_instance_uid)
                kept[one.sop_instance_uid] = _both(known, one) if known else one
        return list(kept.values())

    def _compose_for(
        self, study: StudyResult, choice: Choice, names: tuple[str, ...], previews: Mapping[int, Picture]
    ) -> list[KeptEvidence]:
        drafts = self._composer.drafts(study, choice, self._paths(study), previews)
        kept = [self._keep(draft, names if draft.kind in choice.kinds else ()) for draft in drafts]
        return self._inspected(study, kept)

    def _in_its_line(self, study: StudyResult, choice: Choice, before: str | None) -> StudyResult:
        """Name the report that this one follows; a study that says the same again gets the same report again."""
        key = self._archive.kept_evidence(before) if before else None
        if before is None or key is None:
            return study
        link = self._composer.link_of(self._archive.path(key))
        unchanged = replace(
            study, predecessor=link.predecessor, predecessor_class=link.predecessor_class, revision=link.revision
        )
        if self._composer.report_uid(unchanged, choice) == before:
            return unchanged
        return replace(study, predecessor=before, predecessor_class=link.sop_class_uid, revision=link.revision + 1)

    def _rejections(
        self,
        claim: Claim,
        study: StudyResult,
        chosen: Mapping[str, Choice],
        evidence: Sequence[StatedEvidence],
        because: str,
    ) -> list[KeptEvidence]:
        """Give the notes that reject `evidence` where it was sent, one for destinations that were sent the same."""
        wanting = {RejectionNotes.ALWAYS} if because == "superseded" else set(RejectionNotes) - {RejectionNotes.NEVER}
        to: dict[tuple[StatedEvidence, ...], list[str]] = {}
        for destination in self._destinations(claim):
            sent = tuple(one for one in evidence if destination.name in one.destinations)
            choice = chosen.get(destination.name)
            if sent and choice and choice.rejection and destination.rejection_notes in wanting:
                to.setdefault(sent, []).append(destination.name)
        notes = [self._reject(study.sources[0], sent, because, tuple(names)) for sent, names in to.items()]
        return self._inspected(study, notes)

    def _reject(
        self, source: Instance, sent: Sequence[StatedEvidence], because: str, names: tuple[str, ...]
    ) -> KeptEvidence:
        files = {one.sop_instance_uid: self._archive.path(one.key) for one in sent}
        draft = self._composer.rejection(source, self._archive.path(source.key), sent, files, because)
        return self._keep(draft, names)

    def _keep(self, draft: Draft, names: tuple[str, ...]) -> KeptEvidence:
        uid = draft.sop_instance_uid
        if self._archive.kept_evidence(uid) is None:
            self._archive.keep_evidence(uid, draft.compose())
            sop_class, source = draft.sop_class_uid, draft.source
            tell(Event.EVIDENCE_KEPT, evidence=uid, sop_class=sop_class, instance=source, model=draft.model)
        key = self._archive.kept_evidence(uid)
        assert key is not None  # kept before, or just now
        return KeptEvidence(
            kind=draft.line,
            sop_class_uid=draft.sop_class_uid,
            sop_instance_uid=uid,
            source=draft.source,
            model=draft.model,
            key=key,
            sha256=_sha256(self._archive.path(key)),
            destinations=names,
        )

    def _paths(self, study: StudyResult) -> dict[int, Path]:
        return {source.row: self._archive.path(source.key) for source in study.sources}

    def _inspected(self, study: StudyResult, kept: Sequence[KeptEvidence]) -> list[KeptEvidence]:
        if not kept:
            return []
        files, paths = {one.sop_instance_uid: self._archive.path(one.key) for one in kept}, self._paths(study)
        objections = self._composer.inspect(study, kept, files, paths)
        for uid in objections:
            tell(Event.EVIDENCE_OBJECTED, logging.WARNING, evidence=uid)
        return [replace(one, objection=objections.get(one.sop_instance_uid, "")) for one in kept]


def _grouped(claim: Claim, chosen: Mapping[str, Choice]) -> list[tuple[Choice, tuple[str, ...]]]:
    """Give each composition once, with those who get it and whose report follows the same one."""
    groups: dict[object, list[str]] = {}
    for name in sorted(chosen, key=lambda name: (chosen[name].composition, name)):
        groups.setdefault((chosen[name].composition, _before(claim, chosen[name], (name,))), []).append(name)
    return [(chosen[names[0]], tuple(names)) for names in groups.values()]


def _before(claim: Claim, choice: Choice, names: Sequence[str]) -> str | None:
    """Give the report that the next one follows: the last one of these destinations.

    Where none of them gets a report it is kept all the same, and follows the last one that was kept: a document that
    goes in its place has the same number.
    """
    if names and Kind.SR in choice.kinds:
        return claim.reports_at.get(names[0])
    return claim.reports.get(choice.report_line)


def _fallbacks(chosen: Mapping[str, Choice]) -> dict[str, tuple[str, ...]]:
    return {name: choice.fallbacks for name, choice in chosen.items() if choice.fallbacks}


def _both(first: KeptEvidence, second: KeptEvidence) -> KeptEvidence:
    """Give the one object that two compositions came to: it goes to all, and what either is objected to for holds."""
    return replace(
        second,
        destinations=(*first.destinations, *second.destinations),
        objection=first.objection or second.objection,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
