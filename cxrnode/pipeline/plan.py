"""What the operator decided, as the line needs it. Hides the settings' own layout."""

from __future__ import annotations

from dataclasses import dataclass

from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import Destination
from cxrnode.domain.job import RetryPolicy
from cxrnode.domain.priority import Stat
from cxrnode.domain.routing import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the operator decided: the settings, as the line needs them."""

    rules: tuple[Rule, ...]
    models: tuple[str, ...]
    destinations: tuple[Destination, ...]
    quiet_seconds: float
    batch: int
    job_policy: RetryPolicy
    delivery_policy: RetryPolicy
    job_lease_seconds: float
    delivery_lease_seconds: float
    commitment_wait_seconds: float
    """How long an N-EVENT-REPORT may take before commitment is asked for again."""
    stat: tuple[Stat, ...] = ()
    """What is urgent, and goes first."""
    objects: tuple[Kind, ...] = (Kind.SEG, Kind.SR)
    """What is composed where no destination gets it."""
    preview: bool = False
    state_withheld: bool = False
    """Whether findings that a card withholds are stated all the same, each saying so."""
    children: bool = False
    """Whether children are analysed, by models that were trained on adults."""
