"""The settings that matter to a peer, with their defaults.

Hides the tree of settings. Promises every setting of the sections that are listed here, with the default that holds.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from cxrnode.conformance.markdown import literal, table
from cxrnode.settings import Settings

MEANT: Mapping[str, str] = {
    "node.ae_title": "AE title, for listening and for sending",
    "node.host": "address to listen on",
    "node.port": "port to listen on",
    "node.state_dir": "where everything is kept",
    "node.device_name": "Device Observer Name, Device Serial Number; the AE title where empty",
    "node.timezone_offset": "Timezone Offset From UTC for sources that state none",
    "listener.calling_ae_titles": "who may call; empty: everybody",
    "listener.addresses": "addresses or networks that may connect; empty: all",
    "listener.anyone": "whether the port may be open to other machines with neither list",
    "listener.transport": "`local` (in the clear, loopback only), `tls` (8.4) or `plain` (in the clear)",
    "listener.client_certificates": "`required`, or `ignored`: who calls under TLS need not show one",
    "listener.certificate_names": "by calling AE title, the name that its certificate has to be for",
    "listener.other_storage_classes": "further SOP classes to receive; they are never analysed",
    "listener.maximum_associations": "associations at once",
    "listener.maximum_per_address": "of them, from one address",
    "listener.negotiation_seconds": "wait for an association request",
    "listener.idle_seconds": "wait for a peer's next message",
    "listener.slowest_kb_per_second": "rate below which a peer is not waited for",
    "listener.largest_object_mb": "above which C-STORE is answered 0xA700",
    "listener.in_flight_mb": "bytes being received of all objects together, above which C-STORE is answered 0xA700",
    "listener.free_space_floor_mb": "free space below which C-STORE is answered 0xA700",
    "tls.certificate": "the node's certificate, as server and as client; PEM",
    "tls.key": "its private key",
    "tls.authorities": "the certificates of the authorities that count, and no others",
    "tls.handshake_seconds": "wait for a peer's TLS handshake, as a whole",
    "tls.warn_days": "days before a certificate ends from which that is said",
    "studies.quiet_seconds": "wait for further images of a study, once no open association has sent it",
    "models.folder": "where the models are",
    "models.enabled": "which models run; by default those whose cards say so",
    "models.state_withheld": "whether findings are stated that were not shown to be good enough",
    "models.children": "whether patients below 16 years are analysed",
    "line.jobs": "attempts at an analysis, and the waits between",
    "line.deliveries": "attempts at sending an object, and the waits between",
    "line.job_lease_seconds": "how long an analysis is claimed for",
    "line.delivery_lease_seconds": "how long a delivery is claimed for",
    "line.commitment_wait_seconds": "wait for a storage commitment report before it is asked for again",
    "line.capability_seconds": "after which a destination is asked again what it takes",
    "destinations.name": "what rules and commands call it",
    "destinations.ae_title": "its AE title",
    "destinations.host": "its address",
    "destinations.port": "its port",
    "destinations.transport": "`local` (in the clear, loopback only), `tls` (8.4) or `plain` (in the clear)",
    "destinations.certificate_name": "the name that its certificate is for; empty: its host; `*`: any",
    "destinations.commitment": "`required`, `if_offered` or `none`",
    "destinations.geometry": "`viewer` or `strict`: whether a segmentation has plane groups (A.D)",
    "destinations.not_analysed": "whether it gets a report that only says why nothing was analysed",
    "destinations.objects": "the kinds of objects that it is to get (5.2.5.1)",
    "destinations.report_classes": "SOP classes of the report; the first that it takes is written",
    "destinations.fallback": "whether something else goes in place of what it does not take",
    "destinations.rejection_notes": "`never`, `retraction`, or `always`: also when a later analysis takes its place",
    "rules.calling_ae": "the sender's AE title, as a shell pattern",
    "rules.called_ae": "the AE title that it called, as a shell pattern",
    "rules.models": "models that run on what it sends; empty: all that are enabled",
    "rules.destinations": "who gets the results; `@sender`: the destination of the sender's AE title",
}
"""What each setting means to a peer. The others are of the machine: deploy/cxrnode.toml documents all."""


def general() -> str:
    """Give the settings of the node itself."""
    return _table("node", "listener", "tls", "studies", "models", "line")


def destinations() -> str:
    """Give the settings of a destination, and of the rules that lead to it."""
    return _table("destinations", "rules")


def names(*sections: str) -> list[str]:
    """Give the names of every setting of some sections."""
    return [f"{section}.{name}" for section in sections for name in _section(section).model_fields]


def _table(*sections: str) -> str:
    rows = []
    for section in sections:
        for name, field in _section(section).model_fields.items():
            rows.append((literal(f"{section}.{name}"), _default(field), MEANT.get(f"{section}.{name}", "")))
    return table(("parameter", "default", "meaning"), rows)


def _section(name: str) -> Any:
    """Give the class of a section, or of one of several."""
    return next(_sections_in(Settings.model_fields[name].annotation))


def _sections_in(annotation: object) -> Iterator[Any]:
    if hasattr(annotation, "model_fields"):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _sections_in(inner)


def _default(field: Any) -> str:
    if field.is_required():
        return "none: required"
    return "by the machine" if field.default_factory is not None else _shown(field.default)


def _shown(default: Any) -> str:
    if hasattr(default, "model_dump"):
        return ", ".join(f"{name} {_shown(value)}" for name, value in default.model_dump().items())
    if isinstance(default, bool):
        return literal(str(default).lower())
    if isinstance(default, tuple):
        return ", ".join(literal(str(one)) for one in default) or "empty"
    return literal(str(default)) or "empty"
