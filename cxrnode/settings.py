"""One frozen tree of settings: a TOML file, then CXRNODE_ variables on top.

Hides where a setting came from. Promises that the whole tree is checked before anything starts, that every problem
is reported at once with its place, and that units stand in the names. `deploy/cxrnode.toml` documents each setting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from cxrnode.domain.access import (
    Transport,
    incomplete_tls,
    unbound_names,
    unsafe_destination,
    unsafe_listener,
    unsafe_page,
)
from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.delivery import CommitmentPolicy, Destination, Geometry, RejectionNotes
from cxrnode.domain.identity import AETitle, ae_title, is_uid
from cxrnode.domain.job import RetryPolicy
from cxrnode.domain.priority import Stat
from cxrnode.domain.retention import Rules, unfit_rules
from cxrnode.domain.routing import SENDER, Rule
from cxrnode.errors import SettingsInvalid

SYSTEM_FILE = Path("/etc/cxrnode/cxrnode.toml")
MODELS_BESIDE = Path(__file__).parent / "_models"
MODELS_IN_CHECKOUT = Path(__file__).parent.parent / "models"

T = TypeVar("T")


def _checked_uid(text: str) -> str:
    if not is_uid(text):
        raise ValueError(f"{text!r} is no UID")
    return text


def _checked_object(name: object) -> object:
    if name == Kind.REJECTION:
        raise ValueError("a rejection note goes with what it takes back: see rejection_notes")
    wishes = [str(kind) for kind in Kind if kind is not Kind.REJECTION]
    if name not in wishes:
        raise ValueError(f"{name!r} is none of {', '.join(wishes)}")
    return name


def _checked_list(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("the list is empty; without it the default holds")
    twice = [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]
    if twice:
        raise ValueError(f"listed twice: {', '.join(twice)}")
    return values


Wishes = Annotated[tuple[Annotated[Kind, BeforeValidator(_checked_object)], ...], AfterValidator(_checked_list)]
ReportClasses = Annotated[tuple[ReportClass, ...], AfterValidator(_checked_list)]
Title = Annotated[str, AfterValidator(ae_title)]
Uid = Annotated[str, AfterValidator(_checked_uid)]
Port = Annotated[int, Field(ge=0, le=65535)]
BundleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Seconds = Annotated[float, Field(gt=0)]
Network = IPv4Network | IPv6Network


_LARGEST = 1e9
"""Of any unit: thirty years of seconds, and what a lock, a date and a column of the ledger can still take."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _is_of_use(cls, value: object) -> object:
        # TOML has inf and nan, and whole numbers without end.
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            raise ValueError(f"no number of more than {_LARGEST:.0f} is of any use")
        return value


class NodeSettings(_Section):
    """Who the node is, and where its state lies."""

    ae_title: Title = "CXRNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    state_dir: Path = Field(default_factory=lambda: platformdirs.user_state_path("cxrnode"))
    device_name: str = ""
    """The Device Observer of every report; the AE title where empty."""
    timezone_offset: str = Field(default="", pattern=r"^([+-][0-9]{4})?$")
    """Timezone Offset From UTC for sources that state none; empty leaves it out."""


class ListenerSettings(_Section):
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


class TlsSettings(_Section):
    """Our certificate, and whose certificates count. Files in PEM form."""

    certificate: str = ""
    """The node's own, then those between it and its authority."""
    key: str = ""
    authorities: str = ""
    """The certificates of the authorities that issued the peers'."""
    handshake_seconds: Seconds = 10.0
    warn_days: int = Field(default=30, ge=0)


class StudySettings(_Section):
    """When a study closes."""

    quiet_seconds: float = Field(default=5.0, ge=0)


class InferenceSettings(_Section):
    """Where the models run, and how long they may take."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1)
    batch: int = Field(default=8, ge=1)
    image_seconds: Seconds = 120.0
    stall_seconds: Seconds = 30.0


class ModelSettings(_Section):
    """Which bundles are enabled, and what of theirs is stated."""

    folder: Path = Field(default_factory=lambda: MODELS_BESIDE if MODELS_BESIDE.is_dir() else MODELS_IN_CHECKOUT)
    enabled: Literal["default"] | tuple[BundleName, ...] = "default"
    """Names of bundles; `default`: those whose cards say that they are enabled by default."""
    state_withheld: bool = False
    """Whether findings that a card withholds are stated all the same."""
    children: bool = False
    """Whether children are analysed, by models that learned from adults."""


class RetrySettings(_Section):
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


class LineSettings(_Section):
    """Leases and retries."""

    jobs: RetrySettings = RetrySettings()
    deliveries: DeliveryRetrySettings = DeliveryRetrySettings()
    job_lease_seconds: Seconds = 60.0
    delivery_lease_seconds: Seconds = 300.0
    commitment_wait_seconds: Seconds = 300.0
    capability_seconds: Seconds = 3600.0


class DestinationSettings(_Section):
    """An AE that gets evidence."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    ae_title: Title
    host: str = "127.0.0.1"
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


class RuleSettings(_Section):
    """Which source gets which models and destinations; the first that matches decides."""

    calling_ae: str = "*"
    called_ae: str = "*"
    models: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()

    def rule(self) -> Rule:
        """Give it as the line knows it."""
        return Rule(**self.model_dump())


class StatSettings(_Section):
    """What is urgent: all that one rule states has to hold of one image of the study."""

    calling_ae: str = "*"
    called_ae: str = "*"
    description: str = "*"
    asked: bool = False

    def rule(self) -> Stat:
        """Give it as the line knows it."""
        return Stat(**self.model_dump())


class WebSettings(_Section):
    """The health page's address; port 0 takes a free one."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 11180
    anyone: bool = False
    """Whether other machines may see the page."""


class RetentionSettings(_Section):
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


class LogSettings(_Section):
    """How much is said on standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    uids: Literal["plain", "hashed"] = "plain"
    """Whether the UIDs of studies and instances are written as they are, or as salted short hashes."""


class SyslogSettings(_Section):
    """Where audit messages are sent. Without a host they stay in their files."""

    host: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 6514
    transport: Literal["tls", "tcp", "udp"] = "tls"


class AuditSettings(_Section):
    """The audit trail."""

    site: str = ""
    keep_days: int = Field(default=0, ge=0)
    """0 for ever."""
    syslog: SyslogSettings = SyslogSettings()


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="CXRNODE_", env_nested_delimiter="__", env_ignore_empty=True
    )

    node: NodeSettings = NodeSettings()
    listener: ListenerSettings = ListenerSettings()
    tls: TlsSettings = TlsSettings()
    studies: StudySettings = StudySettings()
    inference: InferenceSettings = InferenceSettings()
    models: ModelSettings = ModelSettings()
    line: LineSettings = LineSettings()
    retention: RetentionSettings = RetentionSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    rules: tuple[RuleSettings, ...] = ()
    stat: tuple[StatSettings, ...] = (StatSettings(asked=True),)
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _names_are_known(self) -> Settings:
        problems = [*_twice(self.destinations), *_strangers(self), *_unsafe(self), *_unfit(self)]
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over CXRNODE_ variables, which win over the file."""
        file = settings_file()
        toml = (TomlConfigSettingsSource(settings_cls, file),) if file else ()
        return (init_settings, env_settings, *toml)

    @property
    def tls_users(self) -> tuple[str, ...]:
        """Where TLS is asked for: the listener, destinations, the collector of audit messages."""
        listener = ("listener",) if self.listener.transport is Transport.TLS else ()
        syslog = self.audit.syslog
        collector = ("audit.syslog",) if syslog.host and syslog.transport == "tls" else ()
        over_tls = [one.name for one in self.destinations if one.transport is Transport.TLS]
        return (*listener, *collector, *(f"destination {name}" for name in over_tls))

    @property
    def rules_in_force(self) -> tuple[Rule, ...]:
        """The rules; without any, everything goes through every model to every destination."""
        everything = Rule(destinations=tuple(destination.name for destination in self.destinations))
        return tuple(rule.rule() for rule in self.rules) or (everything,)


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


def _not_enabled(settings: Settings, rule: RuleSettings) -> list[str]:
    """Give the models of a rule that do not run; by default the bundles' cards decide, and the node looks at those."""
    enabled = settings.models.enabled
    return [] if enabled == "default" else [name for name in rule.models if name not in enabled]


def settings_file() -> Path | None:
    """Give the file in force: CXRNODE_CONFIG, else the system's, else none."""
    named = os.environ.get("CXRNODE_CONFIG")
    if named:
        return Path(named)
    return SYSTEM_FILE if SYSTEM_FILE.is_file() else None


def _is_known(variable: str) -> bool:
    section = variable.removeprefix("CXRNODE_").split("__")[0].lower()
    return section in {*Settings.model_fields, "config", "data"}


def load(**overrides: object) -> Settings:
    """Read and check everything. Raises SettingsInvalid that lists every problem with its place."""
    file = settings_file()
    if file and not os.path.isfile(file):  # noqa: PTH113 - Path's own raises for a name that no file can have
        raise SettingsInvalid("the settings file does not exist", subject=str(file), hint="check CXRNODE_CONFIG")
    strangers = sorted(name for name in os.environ if name.startswith("CXRNODE_") and not _is_known(name))
    if strangers:
        raise SettingsInvalid(
            "no such setting", subject=", ".join(strangers), hint="a misspelt variable would do nothing"
        )
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors()]
        hint = "every setting is documented in deploy/cxrnode.toml"
        raise SettingsInvalid("\n  ".join(["", *lines]), subject=str(file or "environment"), hint=hint) from error
    except ValueError as error:
        raise SettingsInvalid(str(error), subject=str(file or "environment"), hint="the file is no TOML") from error
    except RecursionError as error:
        hint = "no setting is nested like this"
        raise SettingsInvalid("brackets without end", subject=str(file or "environment"), hint=hint) from error
    except OSError as error:
        happened, hint = f"the file cannot be read: errno {error.errno}", "the service's user must be able to read it"
        raise SettingsInvalid(happened, subject=str(file or "environment"), hint=hint) from error
