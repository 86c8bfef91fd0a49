"""Finding services by name. Nothing here imports a service before it is asked for.

A connector is a package with `settings.Settings` and `connector.create(settings)`; any other service is a package with
`settings.Settings` and `service.run(settings)`. Where they lie: `wattbus.cli.service_places`.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, Literal, TypeVar, cast

from wattbus.cli.service_places import Place, places, plain
from wattbus.connector import Connector
from wattbus.errors import ConfigError
from wattbus.mqtt.client import MqttClient
from wattbus.runtime.connector_runtime import run_connector
from wattbus.settings import ServiceSettings, Settings, unknown_variables

log = logging.getLogger(__name__)

Kind = Literal["connector", "service"]
T = TypeVar("T")

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


def names(*, own: bool = False) -> list[str]:
    """The services that are there, connectors included; none of them is imported for it. `own`: without packages
    that others have installed."""
    return sorted(name for name, found in places().items() if not own or found[0].own)


def find(name: str) -> Service:
    """The service of this name. Raises ConfigError when there is none or it is broken, or lacks a library."""
    place = _place(name)
    own_settings = _settings_class(place)
    if _has(place, "connector"):
        create = cast(Callable[[Any], Connector], _attribute(place, "connector", "create"))

        def run(settings: Any) -> Coroutine[Any, Any, None]:
            return run_connector(create(settings), settings)

        return Service(place.name, "connector", place.package, own_settings, run, create)
    return Service(place.name, "service", place.package, own_settings, _attribute(place, "service", "run"))


def find_connector(name: str) -> tuple[Service, Callable[[Any], Connector]]:
    """The connector of this name. Raises ConfigError when the service is not one."""
    service = find(name)
    if service.create is None:
        raise ConfigError(f"{service.name} is not a connector")
    return service, service.create


def settings_class(name: str) -> type[ServiceSettings]:
    """The settings of a service, without importing the rest of it. Raises ConfigError like `find`."""
    return _settings_class(_place(name))


def part(name: str, module: str) -> ModuleType | None:
    """A module of the service's package (`simulator`, `codec`), None when it has none. Raises ConfigError."""
    place = _place(name)
    return _import(place, module) if _has(place, module) else None


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


def _place(name: str) -> Place:
    known = places()
    wanted = plain(name)
    if wanted not in known:
        [closest] = get_close_matches(wanted, known, n=1) or [""]
        hint = f"; do you mean {closest}?" if closest else ""
        raise ConfigError(f"there is no service {name!r}{hint} (there are: {', '.join(sorted(known))})")
    if len(found := known[wanted]) > 1:
        raise ConfigError(
            f"{wanted} is the name of several services: {' and '.join(place.source for place in found)}; "
            "remove or rename all but one"
        )
    return found[0]


def _settings_class(place: Place) -> type[ServiceSettings]:
    found = _attribute(place, "settings", "Settings")
    if not (isinstance(found, type) and issubclass(found, ServiceSettings)):
        raise ConfigError(f"{place.name} ({place.source}): its Settings are not derived from wattbus.settings")
    return found


def _attribute(place: Place, module: str, name: str) -> Any:
    loaded = _import(place, module)
    try:
        return getattr(loaded, name)
    except AttributeError:
        raise ConfigError(f"{place.name} ({place.source}): there is no {name} in {place.package}.{module}") from None


def _has(place: Place, module: str) -> bool:
    return _loaded(place, importlib.util.find_spec, f"{place.package}.{module}") is not None


def _import(place: Place, module: str) -> ModuleType:
    return _loaded(place, importlib.import_module, f"{place.package}.{module}")


def _loaded(place: Place, load: Callable[[str], T], module: str) -> T:
    """What a package raises when it is imported is its fault, and says whose it is. Raises ConfigError.

    A fault of our own packages is a bug and keeps its traceback; a library that is not installed is neither.
    """
    try:
        return load(module)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in ("", "wattbus", "links", "connectors", place.package.split(".")[0]):
            raise ConfigError(
                f"{place.name} needs the library {missing}, which is not installed: {_cure(place)}"
            ) from None
        if place.own:
            raise
        raise ConfigError(f"{place.name}: {place.source} cannot be loaded: {error}") from error
    except Exception as error:
        if place.own:
            raise
        raise ConfigError(f"{place.name}: {place.source} cannot be loaded: {type(error).__name__}: {error}") from error


def _cure(place: Place) -> str:
    group = place.name.replace("_", "-")  # pip before 23.3 does not find a group by its underscores
    return f"pip install 'wattbus[{group}]'" if place.own else f"it belongs to {place.source}"
