"""One frozen tree of settings: a TOML file, then CXRNODE_ variables on top.

Hides where a setting came from. Promises that the whole tree is checked before anything starts, that every problem
is reported at once with its place, and that units stand in the names. `deploy/cxrnode.toml` documents each setting.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from cxrnode.domain.access import Transport
from cxrnode.domain.routing import Rule
from cxrnode.errors import SettingsInvalid
from cxrnode.settings.fitting import problems
from cxrnode.settings.sections import (
    AuditSettings,
    DestinationSettings,
    InferenceSettings,
    LineSettings,
    ListenerSettings,
    LogSettings,
    ModelSettings,
    NodeSettings,
    RetentionSettings,
    RuleSettings,
    StatSettings,
    StudySettings,
    TlsSettings,
    WebSettings,
)

__all__ = ["SYSTEM_FILE", "Settings", "load", "settings_file"]

SYSTEM_FILE = Path("/etc/cxrnode/cxrnode.toml")


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
        found = problems(self)
        if found:
            raise ValueError("\n  ".join(found))
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
