"""Which algorithms made an object, in its header: one item of Contributing Equipment a model (PS3.3 C.12.1.5).

Hides what IHE AI Results asks for beside the algorithm identification of each statement. Promises a Device UID that is
the same for the same weights wherever they run, and another one for others.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from cxrnode.domain.finding import ModelIdentity
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.evidence.codes import plain
from cxrnode.evidence.items import code_item, data_set

PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
"""PS3.16 CID 7005. IHE has a provisional code of its own (99IHE), "Processing Algorithm"; no standard one says that."""


def model_uid(model: ModelIdentity) -> str:
    """Give the Device UID of a model: of its name, version, weights and configuration."""
    return derived_uid("model", model.name, model.version, model.digest)


def add_algorithms(built: Dataset, models: Iterable[ModelIdentity]) -> None:
    """Say which models an object's statements are made with; nothing where there are none."""
    items = [_algorithm(model) for model in models]
    if items:
        built.update(data_set(ContributingEquipmentSequence=items))


def _algorithm(model: ModelIdentity) -> Dataset:
    return data_set(
        Manufacturer=OWN_MANUFACTURER,
        ManufacturerModelName=plain(model.name),
        DeviceUID=model_uid(model),
        SoftwareVersions=plain(model.version),
        ContributionDescription=plain(f"digest={model.digest}, backend={model.backend}", 1024),
        PurposeOfReferenceCodeSequence=[code_item(PROCESSING_EQUIPMENT)],
    )
