"""The UIDs of our objects, each a function of all that can change what the object says (law 4).

Hides what goes into each. Promises the same UID for the same statement on every machine, and another one where
anything stated differs: the image's header or pixels, the model, the backend, the geometry, our own version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ImageResult, ModelIdentity, ModelResult, StudyResult
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.study import Instance

FORMAT = 6
"""Counts the versions of what our objects look like: a change of a byte for the same input must change this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes: the device as the site named it, the software's version, and the site's time zone (`+0100` or "")."""

    device_name: str
    software_version: str
    timezone_offset: str

    @property
    def device_uid(self) -> str:
        """The same UID for the same name, for the life of the installation."""
        return derived_uid("device", self.device_name)


def content_of(source: Instance) -> list[str]:
    """Say which content of which instance this is: another header or other pixels make another object."""
    description = source.description
    return [source.uid, description.header_digest, description.pixel_digest]


def models_in(stated: ImageResult | StudyResult) -> list[dict[str, str]]:
    """Say which models statements are made with: another digest or backend makes another object."""
    return [asdict(model) for model in stated.models]


def segmentation_uid(author: Author, source: Instance, result: ModelResult, geometry: Geometry) -> str:
    """Give the SOP Instance UID of the SEG of one model on one source.

    Which segments it has depends on more than the model: on what the node may state, and on whose lungs gave the sides;
    what they are called, on whether others doubt it.
    """
    labels = [[one.label, str(result.presence_of(one.label))] for one in result.regions if one.mask.any()]
    models = [asdict(model) for model in (result.model, *result.leaning_on)]
    return derived_uid("SEG", FORMAT, asdict(author), content_of(source), models, labels, geometry.value)


def series_uid(sop_instance_uid: str) -> str:
    """Give the series of one of our objects: each has its own, since viewers show one SEG or SR a series."""
    return derived_uid("series", sop_instance_uid)


def region_uid(source: Instance, model: ModelIdentity, label: str) -> str:
    """Give the Tracking UID of a structure on an image, the same in SEG and SR and for every version of the model."""
    return derived_uid("region", source.uid, model.name, label)


def finding_uid(source: Instance, model: ModelIdentity, *parts: str | int) -> str:
    """Give the Tracking UID of a finding or a measurement on an image."""
    return derived_uid("finding", source.uid, model.name, *parts)
