"""The adapters of a node, each made from the settings.

Hides which setting goes where. Promises that nothing is started by asking for a part, and nothing made but the spool's
folders.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cxrnode import __version__
from cxrnode.archive import ReferenceArchive, SpoolArchive
from cxrnode.audit import AuditedSpool, AuditTrail, Carrier, Collector
from cxrnode.dimse.certificates import Files
from cxrnode.dimse.contexts import SOURCE_CLASSES
from cxrnode.dimse.listener import Door
from cxrnode.dimse.sender import Sender
from cxrnode.dimse.server import Limits
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.capability import Kind
from cxrnode.errors import SettingsInvalid
from cxrnode.evidence import EvidenceComposer
from cxrnode.inference.bundle import verify
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.inference.shelf import enabled_by_default, folders_of
from cxrnode.ledger import SqliteLedger
from cxrnode.pipeline import Plan
from cxrnode.pipeline.retaining import Retaining
from cxrnode.settings import Settings
from cxrnode.settings.sections import ListenerSettings

LEDGER_FILE = "ledger.sqlite"
AUDIT_FOLDER = "audit"
_AGAIN_SECONDS = 30.0
"""How often a GPU that is not there is looked for, and models that do not start are started."""


class SystemClock:
    """Implements ports.Clock."""

    def now(self) -> datetime:
        """Give the time as aware UTC."""
        return datetime.now(UTC)


def audit_of(settings: Settings, *, collector: Collector | None = None) -> AuditTrail:
    """Give the audit trail of a state folder; `collector` is the node's to speak to, not a command's."""
    return AuditTrail(
        settings.node.state_dir / AUDIT_FOLDER,
        ae_title=settings.node.ae_title,
        host=socket.gethostname(),
        now=SystemClock().now,
        site=settings.audit.site,
        keep_days=settings.audit.keep_days,
        collector=collector,
    )


def collector_of(settings: Settings, tls: Tls | None) -> Collector | None:
    """Give where the audit trail is forwarded to; None where it stays in its files."""
    syslog = settings.audit.syslog
    if not syslog.host:
        return None
    plain = Collector(host=syslog.host, port=syslog.port, transport=Carrier(syslog.transport))
    return replace(plain, context=tls.client_context) if tls else plain


def spool_of(settings: Settings) -> SpoolArchive:
    """Give the archive of a node's state folder."""
    floor = settings.listener.free_space_floor_mb * 1_000_000
    return SpoolArchive(settings.node.state_dir / "spool", floor_bytes=floor)


def retaining_of(
    settings: Settings,
    archive: SpoolArchive | ReferenceArchive,
    ledger: SqliteLedger,
    keeper: Sender,
    audit: AuditTrail,
    *,
    by_operator: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Retaining | None:
    """Give what looks after the room on the disk; None for a replay, whose files stay."""
    if not isinstance(archive, SpoolArchive):
        return None
    return Retaining(
        rules=settings.retention.rules(),
        destinations=tuple(destination.destination() for destination in settings.destinations),
        spool=AuditedSpool(archive, archive.path, audit, by_operator=by_operator),
        inventory=ledger.inventory,
        keeper=keeper,
        clock=SystemClock(),
        chance=random.random,
        stopping=stopping,
    )


def tls_of(settings: Settings) -> Tls | None:
    """Give the TLS of a node; None where nothing asks for it. SettingsInvalid with every problem of its files."""
    if not settings.tls_users:
        return None
    tls, listener = settings.tls, settings.listener
    return Tls(
        Files(certificate=Path(tls.certificate), key=Path(tls.key), authorities=Path(tls.authorities)),
        client_certificates=listener.client_certificates == "required",
        roles=_roles(settings),
        handshake_seconds=tls.handshake_seconds,
        warn_days=tls.warn_days,
    )


def _roles(settings: Settings) -> tuple[str, ...]:
    """Give what our certificate is for."""
    server = ("server",) if settings.listener.transport is Transport.TLS else ()
    client = any(user != "listener" for user in settings.tls_users)
    return (*server, "client") if client else server


def enabled_models(settings: Settings) -> tuple[str, ...]:
    """Give the names of the bundles that run.

    NeedsOperator where a bundle cannot be read or none is enabled, SettingsInvalid where a rule names another.
    """
    chosen = settings.models.enabled
    names = enabled_by_default(settings.models.folder) if chosen == "default" else chosen
    strangers = sorted({name for rule in settings.rules for name in rule.models if name not in names})
    if strangers:
        hint = f"enabled: {', '.join(names)}; name others in models.enabled"
        raise SettingsInvalid("a rule names a model that is not enabled", subject=", ".join(strangers), hint=hint)
    return names


def bundle_folders(settings: Settings) -> dict[str, Path]:
    """Give the enabled bundles' folders, each checked. NeedsOperator where one is missing, ModelAltered."""
    folders = folders_of(settings.models.folder, enabled_models(settings))
    for folder in folders.values():
        verify(folder)
    return folders


def predictor_of(settings: Settings) -> ChildPredictor:
    """Give the models, in a child process that is not started yet. Raises as `bundle_folders` does."""
    inference = settings.inference
    return ChildPredictor(
        bundle_folders(settings),
        device=inference.device,
        threads=inference.threads,
        batch=inference.batch,
        stall_seconds=inference.stall_seconds,
        image_seconds=inference.image_seconds,
        again_seconds=_AGAIN_SECONDS,
    )


def composer_of(settings: Settings) -> EvidenceComposer:
    """Give what writes evidence objects."""
    return EvidenceComposer(
        device_name=settings.node.device_name or settings.node.ae_title,
        timezone_offset=settings.node.timezone_offset,
        software_version=__version__,
    )


def plan_of(settings: Settings, *, preview: bool, objects: tuple[Kind, ...]) -> Plan:
    """Give what the line needs of the settings. Raises as `enabled_models` does."""
    line = settings.line
    return Plan(
        rules=settings.rules_in_force,
        stat=tuple(one.rule() for one in settings.stat),
        models=enabled_models(settings),
        destinations=tuple(destination.destination() for destination in settings.destinations),
        quiet_seconds=settings.studies.quiet_seconds,
        batch=settings.inference.batch,
        job_policy=line.jobs.policy(),
        delivery_policy=line.deliveries.policy(),
        job_lease_seconds=line.job_lease_seconds,
        delivery_lease_seconds=line.delivery_lease_seconds,
        commitment_wait_seconds=line.commitment_wait_seconds,
        objects=objects,
        preview=preview,
        state_withheld=settings.models.state_withheld,
        children=settings.models.children,
    )


def door_of(settings: Settings, tls: Tls | None) -> Door:
    """Give who may come in, and with what."""
    node, listener = settings.node, settings.listener
    return Door(
        ae_title=node.ae_title,
        host=node.host,
        port=node.port,
        calling_ae_titles=listener.calling_ae_titles,
        networks=tuple(str(network) for network in listener.addresses),
        storage_classes=(*SOURCE_CLASSES, *listener.other_storage_classes),
        tls=tls if listener.transport is Transport.TLS else None,
        certificate_names=listener.certificate_names,
        limits=_limits(listener),
    )


def _limits(listener: ListenerSettings) -> Limits:
    return Limits(
        associations=listener.maximum_associations,
        per_address=listener.maximum_per_address,
        negotiation_seconds=listener.negotiation_seconds,
        idle_seconds=listener.idle_seconds,
        slowest_bytes_per_second=listener.slowest_kb_per_second * 1000,
        largest_object_bytes=listener.largest_object_mb * 1_000_000,
        in_flight_bytes=listener.in_flight_mb * 1_000_000,
    )
