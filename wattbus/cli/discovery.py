"""Finding services by name. Nothing here imports a service before it is asked for.

A connector NAME is the package `connectors.NAME` with `settings.Settings` and `connector.create(settings)`; any other
service NAME is the package NAME with `settings.Settings` and `service.run(settings)`. Dashes and underscores are equal.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import wattbus
from wattbus.connector import Connector
from wattbus.errors import ConfigError
from wattbus.mqtt.client import MqttClient
from wattbus.runtime.connector_runtime import run_connector
from wattbus.settings import ServiceSettings, Settings, unknown_variables

log = logging.getLogger(__name__)

Kind = Literal["connector", "service"]

# Variables of BEMCom that its users' files hold and that have no meaning here, unless a service has a setting of that
# name; pattern → what takes their place.
WITHOUT_MEANING = {
    "MQTT_TOPIC_*": "topics follow from the names",
    "CUSTOM_ENV_VARR": "it never had one",
    "DJANGO*": "the API has its own settings",
    "ACTIVATE_*_EXTENSION": "history and control are there when their services run",
    "N_MTD_WRITE_THREADS": "there are no such threads",
    "N_WORKER_PROCESSES": "one process serves all",
    "ROOT_PATH": "the API has its own settings",
    "HTTPS_ONLY": "the API has its own settings",
    "PROMETHEUS_MULTIPROC_DIR": "every process serves its own metrics",
    "MONGO_*": "set DATABASE_URL",
    "MQTT_INTEGRATION_LOG_LEVEL": "set LOGLEVEL",
    "GF_SECURITY_*": "it is Grafana's own",
    "ORIGIN": "there is no emp-link",
    "AUTO_RELOAD": "there is no emp-link",
    "BEMCOM_API_*": "there is no emp-link",
    "EMP_API_*": "there is no emp-link",
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be run: its name, its settings and its coroutine; `create` for connectors only."""

    name: str
    kind: Kind
    package: str
    settings_class: type[ServiceSettings]
    run: Callable[[Any], Coroutine[Any, Any, None]]
    create: Callable[[Any], Connector] | None = None

    def verify(self, settings: ServiceSettings) -> None:
        """Find what is wrong with settings beyond their types. Raises ConfigError; contacts nothing."""
        if self.create is not None:
            self.create(settings)
        MqttClient(settings, "verify")


def names() -> list[str]:
    """The services that are there, connectors included; none of them is imported for it."""
    return sorted(_packages())


def find(name: str) -> Service:
    """The service of this name. Raises ConfigError when there is none, or when a library that it needs is missing."""
    plain, package = _package(name)
    own_settings = settings_class(plain)
    if package == plain:
        return Service(plain, "service", package, own_settings, _import(plain, f"{package}.service").run)
    create = cast(Callable[[Any], Connector], _import(plain, f"{package}.connector").create)

    def run(settings: Any) -> Coroutine[Any, Any, None]:
        return run_connector(create(settings), settings)

    return Service(plain, "connector", package, own_settings, run, create)


def find_connector(name: str) -> tuple[Service, Callable[[Any], Connector]]:
    """The connector of this name. Raises ConfigError when the service is none."""
    service = find(name)
    if service.create is None:
        raise ConfigError(f"{service.name} is no connector")
    return service, service.create


def settings_class(name: str) -> type[ServiceSettings]:
    """The settings of a service, without importing the rest of it."""
    plain, package = _package(name)
    return cast(type[ServiceSettings], _import(plain, f"{package}.settings").Settings)


def part(name: str, module: str) -> ModuleType | None:
    """A module of the service's package (`simulator`, `codec`), None when it has none."""
    plain, package = _package(name)
    if importlib.util.find_spec(f"{package}.{module}") is None:
        return None
    return _import(plain, f"{package}.{module}")


def remarks(own_settings: type[Settings], given: Iterable[str]) -> list[str]:
    """What is to be said about variables in a file that the service has no setting for."""
    unknown = unknown_variables(own_settings, set(given))
    old = {name: place for name in unknown if (place := _place_of(name))}
    lines = [
        f"{name}: there is no such setting" + (f"; do you mean {closest}?" if closest else "")
        for name, closest in unknown.items()
        if name not in old
    ]
    if old:
        lines.append("accepted without effect: " + ", ".join(f"{name} ({place})" for name, place in old.items()))
    return lines


def _place_of(name: str) -> str:
    return next((place for pattern, place in WITHOUT_MEANING.items() if fnmatchcase(name.upper(), pattern)), "")


def _package(name: str) -> tuple[str, str]:
    plain = name.strip().lower().replace("-", "_")
    packages = _packages()
    if plain in packages:
        return plain, packages[plain]
    [closest] = get_close_matches(plain, packages, n=1) or [""]
    hint = f"; do you mean {closest}?" if closest else ""
    raise ConfigError(f"there is no service {name!r}{hint} (there are: {', '.join(sorted(packages))})")


def _packages() -> dict[str, str]:
    """Name → package, from the folders beside `wattbus` and in `connectors`."""
    found = {folder.name: folder.name for folder in _folders(Path(wattbus.__file__).parents[1], "service.py")}
    try:
        places = list(importlib.import_module("connectors").__path__)
    except ModuleNotFoundError:  # an image with one service in it
        places = []
    for place in places:
        found |= {folder.name: f"connectors.{folder.name}" for folder in _folders(Path(place), "connector.py")}
    return found


def _folders(place: Path, heart: str) -> list[Path]:
    """Folders with a service of ours in them; in site-packages there are other people's folders too."""
    return [
        heart_file.parent
        for heart_file in place.glob(f"*/{heart}")
        if (own_settings := heart_file.with_name("settings.py")).is_file()
        and "wattbus.settings" in own_settings.read_text(encoding="utf-8")
    ]


def _import(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "wattbus", "links", "connectors", name):
            raise
        group = name.replace("_", "-")  # pip before 23.3 does not find a group by its underscores
        raise ConfigError(
            f"{name} needs the library {missing}, which is not installed: pip install 'wattbus[{group}]'"
        ) from None
