"""A folder of env files: one service for each `NAME.env`, `common.env` for what they share. Contacts nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wattbus.cli import discovery
from wattbus.cli.discovery import Service
from wattbus.errors import ConfigError
from wattbus.settings import ServiceSettings, load, read_env_file

COMMON = "common.env"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Member:
    """One service of the folder."""

    file: str
    service: Service
    settings: ServiceSettings

    @property
    def name(self) -> str:
        return self.settings.name


@dataclass(frozen=True, slots=True)
class Faulty:
    """A file that cannot be run, and why: one line for each fault, without the file's name."""

    file: str
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its service would be called, as far as its file says."""
        return self.file.removesuffix(".env").replace(".", "-").replace("_", "-").lower()


@dataclass(frozen=True, slots=True)
class Suite:
    """All services of a folder. `broker_port` is where the embedded broker listens, None when there is another."""

    directory: Path
    common: ServiceSettings
    broker_port: int | None
    members: tuple[Member, ...]
    remarks: tuple[str, ...]
    faulty: tuple[Faulty, ...] = ()

    @property
    def broker(self) -> tuple[str, int]:
        if self.broker_port is not None:
            return LOOPBACK, self.broker_port
        return self.common.mqtt_broker_host, self.common.mqtt_broker_port


def read_suite(
    directory: Path, choose_port: Callable[[ServiceSettings], int], *, leave_out_faulty: bool = False
) -> Suite:
    """Read and verify every file of the folder; paths in them are relative to it.

    `choose_port` gives the embedded broker's port when none is set. Raises ConfigError with a line for every fault,
    each naming its file. With `leave_out_faulty` only when common.env is wrong, or no file is right: one wrong file of
    many stands in `faulty`.
    """
    if not directory.is_dir():
        raise ConfigError(f"there is no folder {directory}")
    directory = directory.resolve()
    with contextlib.chdir(directory):
        return _Reader(directory, choose_port, leave_out_faulty).read()


class _Reader:
    def __init__(self, directory: Path, choose_port: Callable[[ServiceSettings], int], leave_out_faulty: bool) -> None:
        self._directory = directory
        self._choose_port = choose_port
        self._leave_out_faulty = leave_out_faulty
        self._faults: list[str] = []
        self._remarks: list[str] = []

    def read(self) -> Suite:
        shared = self._shared_variables()
        with self._faults_of(COMMON):
            common = load(ServiceSettings, shared, DATA_DIRECTORY="data")
        self._raise_faults()
        broker_port = None if "mqtt_broker_host" in common.model_fields_set else self._embedded_port(common)
        common = common.model_copy(update={"data_directory": common.data_directory.absolute()})
        shared["DATA_DIRECTORY"] = str(common.data_directory)
        broker = {} if broker_port is None else {"MQTT_BROKER_HOST": LOOPBACK, "MQTT_BROKER_PORT": str(broker_port)}
        files = self._files()
        self._raise_faults()  # so far: what is wrong with all of them
        members = [member for path in files for member in self._members(path, {**shared, **broker})]
        members = self._with_own_names(members)
        if not (self._leave_out_faulty and members):
            self._raise_faults()
        self._remark_on_common(shared, members)
        return Suite(self._directory, common, broker_port, tuple(members), tuple(self._remarks), self._faulty())

    def _faulty(self) -> tuple[Faulty, ...]:
        by_file: dict[str, list[str]] = {}
        for fault in self._faults:
            file, _, text = fault.partition(": ")
            by_file.setdefault(file, []).append(text)
        return tuple(Faulty(file, tuple(faults)) for file, faults in by_file.items())

    def _shared_variables(self) -> dict[str, str]:
        with self._faults_of(COMMON):
            shared = _upper(read_env_file(Path(COMMON)))
            for name in ("CONNECTOR_NAME", "SERVICE_NAME", "SERVICE"):
                if shared.pop(name, ""):
                    raise ConfigError(f"{name}: every service needs its own, so it belongs into that service's file")
            return shared
        return {}

    def _embedded_port(self, common: ServiceSettings) -> int:
        if common.mqtt_tls or common.mqtt_ca_file:
            self._faults.append(f"{COMMON}: MQTT_TLS: the embedded broker speaks no TLS; set MQTT_BROKER_HOST, too")
        if "mqtt_broker_port" in common.model_fields_set:
            return common.mqtt_broker_port
        return self._choose_port(common)

    def _files(self) -> list[Path]:
        files = [
            path
            for path in sorted(Path().glob("*.env"))
            if path.name != COMMON and not path.name.startswith(".") and path.is_file()
        ]
        if not files:
            self._faults.append(f"{self._directory}: there is no NAME.env in it (history.env, modbus_tcp.meter.env, …)")
        return files

    def _members(self, path: Path, shared: dict[str, str]) -> Iterator[Member]:
        with self._faults_of(path.name):
            own = _upper(read_env_file(path))
            service = discovery.find(own.pop("SERVICE", "") or path.name.split(".")[0])
            if "MQTT_BROKER_PORT" in own and "MQTT_BROKER_HOST" not in own:
                raise ConfigError("MQTT_BROKER_PORT: without MQTT_BROKER_HOST it belongs into common.env")
            if "MQTT_BROKER_HOST" in own:
                shared = {name: value for name, value in shared.items() if name != "MQTT_BROKER_PORT"}
            # Other services keep the name of their kind, whatever their file is called: usually there is one of each.
            name = path.name.removesuffix(".env").replace(".", "-").replace("_", "-").lower()
            defaults = {"CONNECTOR_NAME": name} if service.create else {}
            settings = load(service.settings_class, {**shared, **own}, **defaults)
            service.verify(settings)
            self._remarks += [f"{path.name}: {line}" for line in discovery.remarks(service.settings_class, own)]
            self._remarks += [
                f"{path.name}: {variable} has no effect: the one in {COMMON} is for all services"
                for variable in ("HTTP_HOST", "HTTP_PORT")
                if variable in own
            ]
            yield Member(path.name, service, settings)

    def _with_own_names(self, members: list[Member]) -> list[Member]:
        """Those whose name nobody before them has."""
        owners: dict[str, str] = {}
        for member in members:
            if member.name in owners:
                variable = "CONNECTOR_NAME" if member.service.create else "SERVICE_NAME"
                self._faults.append(
                    f"{member.file}: {variable}: {member.name} is the name of the service in {owners[member.name]}, too"
                )
            owners.setdefault(member.name, member.file)
        return [member for member in members if owners[member.name] == member.file]

    def _remark_on_common(self, shared: dict[str, str], members: list[Member]) -> None:
        """A shared variable is unknown only when no service knows it."""
        known = {field.upper() for member in members for field in member.service.settings_class.model_fields}
        rest = {name for name in shared if name not in known and name.removesuffix("_FILE") not in known}
        self._remarks += [f"{COMMON}: {line}" for line in discovery.remarks(ServiceSettings, rest)]

    @contextlib.contextmanager
    def _faults_of(self, file: str) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            self._faults += [f"{file}: {line}" for line in str(error).splitlines()]

    def _raise_faults(self) -> None:
        if self._faults:
            raise ConfigError("\n".join(self._faults))


def _upper(variables: dict[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in variables.items()}
