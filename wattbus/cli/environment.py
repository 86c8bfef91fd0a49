"""Where the settings of one service come from: the environment over an env file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from wattbus.cli.discovery import Service, remarks
from wattbus.errors import ConfigError
from wattbus.service.lifecycle import configure_logging
from wattbus.settings import ServiceSettings, Settings, from_environment, load, read_env_file

log = logging.getLogger(__name__)

PLACEHOLDERS: dict[object, str] = {str: "placeholder", float: "1", int: "1"}


@dataclass(frozen=True, slots=True)
class Variables:
    """Variables of the process over those of a file."""

    file: Path
    in_file: frozenset[str]
    given: dict[str, str]


def read_variables(env_file: Path | None) -> Variables:
    """Raises ConfigError when a file was named and is not there."""
    if env_file is not None and not env_file.is_file():
        raise ConfigError(f"--env-file: there is no file {env_file}")
    file = env_file or Path(".env")
    return Variables(file, frozenset(read_env_file(file)), from_environment(file))


def load_settings(service: Service, variables: Variables) -> ServiceSettings:
    """The service's settings; logging follows them, and says what in the file is not understood."""
    settings = load(service.settings_class, variables.given)
    configure_logging(settings.level)
    for remark in remarks(service.settings_class, variables.in_file):
        log.warning("%s: %s", variables.file, remark)
    return settings


def placeholders(settings_class: type[Settings], given: dict[str, str], *, objects: bool = False) -> dict[str, str]:
    """Something for required text and numbers that are not set; with `objects`, {} for all others.

    A text whose validator does not take any word declares one that it takes: `Field(examples=[…])`.
    """
    present = {name.upper() for name, value in given.items() if value}
    made = {}
    for name, field in settings_class.model_fields.items():
        if not field.is_required() or present & {name.upper(), f"{name.upper()}_FILE"}:
            continue
        text = PLACEHOLDERS.get(field.annotation, "{}" if objects else "")
        if field.annotation is str and field.examples:
            text = str(field.examples[0])
        if text:
            made[name.upper()] = text
    return made
