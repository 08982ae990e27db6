"""The sections of the settings, each with its defaults.

Hides what pydantic makes of a table. Promises that units stand in the names, and that what is misspelt or out of range
is refused. `deploy/cxrnode.toml` documents each setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, field_validator

from cxrnode.domain.access import Transport
from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.delivery import CommitmentPolicy, Destination, Geometry, RejectionNotes
from cxrnode.domain.identity import AETitle
from cxrnode.domain.job import RetryPolicy
from cxrnode.domain.priority import Stat
from cxrnode.domain.retention import Rules
from cxrnode.domain.routing import Rule
from cxrnode.settings.values import BundleName, Host, Network, Port, ReportClasses, Seconds, Title, Uid, Wishes

_PROGRAM = Path(__file__).parent.parent
MODELS_BESIDE = _PROGRAM / "_models"
MODELS_IN_CHECKOUT = _PROGRAM.parent / "models"

_LARGEST = 1e9
"""Of any unit: thirty years of seconds, and what a lock, a date and a column of the ledger can still take."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _is_of_use(cls, value: object) -> object:
        # TOML has inf and nan, and whole numbers without end.
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            raise ValueError(f"no number of more than {_LARGEST:.0f} is of any use")
        return value


class NodeSettings(Section):
    """Who the node is, and where its state lies."""

    ae_title: Title = "CXRNODE"
    host: Host = "127.0.0.1"
    port: Port = 11112
    state_dir: Path = Field(default_factory=lambda: platformdirs.user_state_path("cxrnode"))
    device_name: str = ""
    """The Device Observer of every report; the AE title where empty."""
    timezone_offset: str = Field(default="", pattern=r"^([+-][0-9]{4})?$")
    """Timezone Offset From UTC for sources that state none; empty leaves it out."""


class ListenerSettings(Section):
    """Who may send what."""

    calling_ae_titles: tuple[Title, ...] = ()
    addresses: tuple[Network, ...] = ()
    anyone: bool = False
    """Whether the port may be open to other machines without either list."""
    transport: Transport = Transport.LOCAL
    client_certificates: Literal["required", "ignored"] = "required"
    certificate_names: dict[Title, str] = Field(default_factory=dict)
    """By calling AE title: a name that the certificate of who calls itself so has to be for."""
    other_storage_classes: tuple[Uid, ...] = ()
    maximum_associations: int = Field(default=20, ge=1)
    maximum_per_address: int = Field(default=12, ge=1)
    negotiation_seconds: Seconds = 30.0
    idle_seconds: Seconds = 60.0
    slowest_kb_per_second: float = Field(default=10.0, ge=0)
    largest_object_mb: int = Field(default=512, ge=1)
    in_flight_mb: int = Field(default=2048, ge=1)
    free_space_floor_mb: int = Field(default=2048, ge=0)


class TlsSettings(Section):
    """Our certificate, and whose certificates count. Files in PEM form."""

    certificate: str = ""
    """The node's own, then those between it and its authority."""
    key: str = ""
    authorities: str = ""
    """The certificates of the authorities that issued the peers'."""
    handshake_seconds: Seconds = 10.0
    warn_days: int = Field(default=30, ge=0)


class StudySettings(Section):
    """When a study closes."""

    quiet_seconds: float = Field(default=5.0, ge=0)


class InferenceSettings(Section):
    """Where the models run, and how long they may take."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1)
    batch: int = Field(default=8, ge=1)
    image_seconds: Seconds = 120.0
    stall_seconds: Seconds = 30.0


class ModelSettings(Section):
    """Which bundles are enabled, and what of theirs is stated."""

    folder: Path = Field(default_factory=lambda: MODELS_BESIDE if MODELS_BESIDE.is_dir() else MODELS_IN_CHECKOUT)
    enabled: Literal["default"] | tuple[BundleName, ...] = "default"
    """Names of bundles; `default`: those whose cards say that they are enabled by default."""
    state_withheld: bool = False
    """Whether findings that a card withholds are stated all the same."""
    children: bool = False
    """Whether children are analysed, by models that learned from adults."""


class RetrySettings(Section):
    """How often something is tried, and how long between."""

    attempts: int = Field(default=5, ge=1)
    first_seconds: Seconds = 5.0
    longest_seconds: Seconds = 900.0

    def policy(self) -> RetryPolicy:
        """Give these as the line knows them."""
        return RetryPolicy(
            attempts=self.attempts, first_seconds=self.first_seconds, longest_seconds=self.longest_seconds
        )


class DeliveryRetrySettings(RetrySettings):
    """The same for deliveries, with more patience."""

    # A default of its own, so that a file which changes only the seconds does not change this.
    attempts: int = Field(default=300, ge=1)


class LineSettings(Section):
    """Leases and retries."""

    jobs: RetrySettings = RetrySettings()
    deliveries: DeliveryRetrySettings = DeliveryRetrySettings()
    job_lease_seconds: Seconds = 60.0
    delivery_lease_seconds: Seconds = 300.0
    commitment_wait_seconds: Seconds = 300.0
    capability_seconds: Seconds = 3600.0


class DestinationSettings(Section):
    """An AE that gets evidence."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    ae_title: Title
    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 104
    transport: Transport = Transport.LOCAL
    certificate_name: str = ""
    """The name in its certificate; its host where empty, any where "*"."""
    commitment: CommitmentPolicy = CommitmentPolicy.IF_OFFERED
    geometry: Geometry = Geometry.VIEWER
    not_analysed: bool = False
    objects: Wishes = (Kind.SEG, Kind.SR)
    report_classes: ReportClasses = tuple(ReportClass)
    fallback: bool = True
    rejection_notes: RejectionNotes = RejectionNotes.RETRACTION

    def destination(self) -> Destination:
        """Give it as the line knows it."""
        return Destination(**{**self.model_dump(), "ae_title": AETitle(self.ae_title)})


class RuleSettings(Section):
    """Which source gets which models and destinations; the first that matches decides."""

    calling_ae: str = "*"
    called_ae: str = "*"
    models: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()

    def rule(self) -> Rule:
        """Give it as the line knows it."""
        return Rule(**self.model_dump())


class StatSettings(Section):
    """What is urgent: all that one rule states has to hold of one image of the study."""

    calling_ae: str = "*"
    called_ae: str = "*"
    description: str = "*"
    asked: bool = False

    def rule(self) -> Stat:
        """Give it as the line knows it."""
        return Stat(**self.model_dump())


class WebSettings(Section):
    """The health page's address; port 0 takes a free one."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Port = 11180
    anyone: bool = False
    """Whether other machines may see the page."""


class RetentionSettings(Section):
    """How long bytes are kept; without any of it for ever."""

    source_days: float = Field(default=0.0, ge=0)
    not_analysed_days: float = Field(default=0.0, ge=0)
    evidence_days: float = Field(default=0.0, ge=0)
    below_free_mb: int = Field(default=0, ge=0)
    sources_held_by: tuple[str, ...] = ()
    """Names of destinations that are asked to commit to the sources."""
    uncommitted: bool = False
    """Whether what no destination committed to keep may be deleted, too."""
    look_seconds: Seconds = 3600.0

    def rules(self) -> Rules:
        """Give these as the line knows them."""
        return Rules(
            source_days=self.source_days,
            not_analysed_days=self.not_analysed_days,
            evidence_days=self.evidence_days,
            below_free_bytes=self.below_free_mb * 1_000_000,
            uncommitted=self.uncommitted,
            held_by=self.sources_held_by,
        )


class LogSettings(Section):
    """How much is said on standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    uids: Literal["plain", "hashed"] = "plain"
    """Whether the UIDs of studies and instances are written as they are, or as salted short hashes."""


class SyslogSettings(Section):
    """Where audit messages are sent. Without a host they stay in their files."""

    host: Host = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 6514
    transport: Literal["tls", "tcp", "udp"] = "tls"


class AuditSettings(Section):
    """The audit trail."""

    site: str = ""
    keep_days: int = Field(default=0, ge=0)
    """0 for ever."""
    syslog: SyslogSettings = SyslogSettings()
