"""Pushes files as a modality does, one association at a time.

Hides pynetdicom. Promises the bytes of each file as they are, in the file's own transfer syntax, and the DIMSE status
of each. For tests and the demo; evidence goes out by `sender`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydicom.filereader import read_file_meta_info
from pynetdicom import _config
from pynetdicom.presentation import PresentationContext, build_context

from cxrnode.dimse import contexts, status
from cxrnode.dimse.connection import Address, Waits, connect, end, lose

if TYPE_CHECKING:
    from pynetdicom.association import Association


class Push:
    """An open association that files are pushed on; it is released when the `with` ends."""

    def __init__(self, address: Address, paths: Sequence[Path], waits: Waits | None = None) -> None:
        """Associate, with a context for every class and transfer syntax among `paths`.

        Raises AssociationLost, or NeedsOperator where the peer refuses the association.
        """
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._association: Association = connect(address, _contexts_of(paths), waits or Waits())

    def store(self, path: Path) -> int:
        """C-STORE one file; give its status, NO_ANSWER (-1) where none came, 0x0122 where no context fits."""
        try:
            answer = self._association.send_c_store(path)
        except ValueError:
            return status.SOP_CLASS_NOT_SUPPORTED
        except RuntimeError:
            return status.NO_ANSWER
        if "Status" not in answer:
            lose(self._association)
            return status.NO_ANSWER
        return int(answer.Status)

    def abort(self) -> None:
        """A-ABORT."""
        self._association.abort()

    def close(self) -> None:
        """Release the association."""
        end(self._association)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _contexts_of(paths: Sequence[Path]) -> list[PresentationContext]:
    metas = [read_file_meta_info(path) for path in paths]
    pairs = dict.fromkeys((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas)
    return [*(build_context(sop_class, [syntax]) for sop_class, syntax in pairs), build_context(contexts.VERIFICATION)]
