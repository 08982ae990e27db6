"""What does not fit together in settings that are each in order.

Hides which rule looks at which sections. Promises a sentence for every problem, and in it what to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cxrnode.domain.access import (
    incomplete_tls,
    unbound_names,
    unsafe_destination,
    unsafe_listener,
    unsafe_page,
)
from cxrnode.domain.delivery import CommitmentPolicy
from cxrnode.domain.retention import unfit_rules
from cxrnode.domain.routing import SENDER
from cxrnode.settings.sections import DestinationSettings, ListenerSettings, RuleSettings

if TYPE_CHECKING:
    from cxrnode.settings import Settings


def problems(settings: Settings) -> list[str]:
    """Give every problem of the whole tree."""
    return [
        *_twice(settings.destinations),
        *_strangers(settings),
        *_unsafe(settings),
        *_unfit(settings),
        *_never_taken(settings.listener),
    ]


def _twice(destinations: tuple[DestinationSettings, ...]) -> list[str]:
    names = [destination.name for destination in destinations]
    return [f"two destinations are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]


def _strangers(settings: Settings) -> list[str]:
    known = {destination.name for destination in settings.destinations} | {SENDER}
    problems = []
    for number, rule in enumerate(settings.rules):
        problems += [f"rules.{number} names no destination {n!r}" for n in rule.destinations if n not in known]
        problems += [f"rules.{number} names no enabled model {n!r}" for n in _not_enabled(settings, rule)]
    return problems


def _unsafe(settings: Settings) -> Iterator[str]:
    """Give what would let somebody in, or patient data out, without the settings saying so."""
    node, listener, web = settings.node, settings.listener, settings.web
    listed = bool(listener.calling_ae_titles or listener.addresses)
    yield from unsafe_listener(host=node.host, transport=listener.transport, listed=listed, anyone=listener.anyone)
    for one in settings.destinations:
        yield from unsafe_destination(name=one.name, host=one.host, transport=one.transport)
    if web.enabled:
        yield from unsafe_page(host=web.host, anyone=web.anyone)
    tls, users = settings.tls, settings.tls_users
    bound = bool(listener.certificate_names)
    yield from unbound_names(
        bound=bound, transport=listener.transport, demanded=listener.client_certificates == "required"
    )
    yield from incomplete_tls(certificate=tls.certificate, key=tls.key, authorities=tls.authorities, used_by=users)


def _unfit(settings: Settings) -> Iterator[str]:
    committing = [one.name for one in settings.destinations if one.commitment is not CommitmentPolicy.NONE]
    floor = settings.listener.free_space_floor_mb * 1_000_000
    return unfit_rules(settings.retention.rules(), floor_bytes=floor, committing=committing)


def _never_taken(listener: ListenerSettings) -> Iterator[str]:
    if listener.in_flight_mb < listener.largest_object_mb:
        yield (
            f"listener.in_flight_mb = {listener.in_flight_mb} is less than listener.largest_object_mb = "
            f"{listener.largest_object_mb}: the largest objects would be refused for ever; raise the first"
        )


def _not_enabled(settings: Settings, rule: RuleSettings) -> list[str]:
    """Give the models of a rule that do not run; by default the bundles' cards decide, and the node looks at those."""
    enabled = settings.models.enabled
    return [] if enabled == "default" else [name for name in rule.models if name not in enabled]
