"""How each thing that a node needs is, in a word for its health page.

Hides what is asked of which adapter. Promises to wait for none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from cxrnode.archive import SpoolArchive
from cxrnode.audit import AuditTrail
from cxrnode.dimse.tls import HINT, Tls
from cxrnode.errors import CxrnodeError
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.ledger import SqliteLedger
from cxrnode.web.dependency import Dependency

_MODELS_HINT = "see 'Models do not load' in docs/operations.md"
_GPU_HINT = "see 'The GPU is lost' in docs/operations.md"


def ledger(open_one: SqliteLedger) -> Dependency:
    """Give the ledger's condition."""
    return _try(lambda: "paused: jobs wait for `cxrnode resume`" if open_one.paused() else "open")


def disk(archive: SpoolArchive) -> Dependency:
    """Give the disk's condition."""
    return _try(lambda: _with_room(archive))


def _with_room(archive: SpoolArchive) -> str:
    archive.check_space()
    return "above its floor of free space"


def _try(look: Callable[[], str]) -> Dependency:
    try:
        return Dependency(ok=True, detail=look())
    except CxrnodeError as error:
        return Dependency(ok=False, detail=error.happened, hint=error.hint)


def audit(trail: AuditTrail) -> Dependency:
    """Give the audit trail's condition: the node goes on without it, and says so."""
    trouble, hint = trail.trouble()
    return Dependency(ok=not trouble, detail=trouble or "written", needed=False, hint=hint)


def models(predictor: ChildPredictor) -> Dependency:
    """The node receives and keeps without its models, so it is ready while they load."""
    trouble = predictor.trouble()
    if trouble:
        return Dependency(ok=False, detail=trouble.happened, needed=False, hint=trouble.hint or _MODELS_HINT)
    detail, lesser = "loaded" if predictor.ready() else "loading", predictor.lesser_device()
    if lesser:
        return Dependency(ok=False, detail=f"{detail} on the CPU: {lesser}", needed=False, hint=_GPU_HINT)
    return Dependency(ok=predictor.ready(), detail=detail, needed=False)


def certificates(tls: Tls) -> Dependency:
    """The node takes its part with certificates that end; its peers will not for long."""
    now = datetime.now(UTC)
    ending = tls.ending(now)
    wrong = f"the new files cannot be used, the old ones are: {tls.trouble}" if tls.trouble else ""
    wrong = wrong or (ending.said(now) if ending is not None else "")
    return Dependency(ok=not wrong, detail=wrong or "valid", needed=False, hint=HINT if wrong else "")
