"""Which source gets which models and which destinations.

Hides how a rule matches. Promises that the first rule that matches decides, and that every name a rule
uses is a configured one (the settings check that before the node starts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cxrnode.domain.delivery import Destination
from cxrnode.domain.study import Sender

SENDER = "@sender"
"""Stands in a rule's destinations for the configured destination whose AE title sent the study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One routing rule. `calling_ae` and `called_ae` are shell patterns; empty `models` means all enabled ones."""

    calling_ae: str = "*"
    called_ae: str = "*"
    models: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()

    def matches(self, sender: Sender) -> bool:
        """Tell whether this rule is for what `sender` sends."""
        return fnmatchcase(sender.calling_ae, self.calling_ae) and fnmatchcase(sender.called_ae, self.called_ae)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a rule came to for one sender."""

    models: tuple[str, ...]
    destinations: tuple[Destination, ...]


def route(sender: Sender, rules: Sequence[Rule], enabled: Sequence[str], destinations: Sequence[Destination]) -> Route:
    """Give the models and destinations for `sender`; without a rule that matches, all models and no destination."""
    rule = next((rule for rule in rules if rule.matches(sender)), Rule())
    models = tuple(name for name in enabled if not rule.models or name in rule.models)
    chosen: dict[str, Destination] = {}
    for name in rule.destinations:
        for destination in destinations:
            if name == destination.name or (name == SENDER and destination.ae_title == sender.calling_ae):
                chosen.setdefault(destination.name, destination)
    return Route(models=models, destinations=tuple(chosen.values()))
