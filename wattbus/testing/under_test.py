"""What the conformance suite has to know of a connector."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, cast

from wattbus.cli import discovery
from wattbus.connector import Connector, Scalar
from wattbus.errors import CommandRejected, LinkDown, causes
from wattbus.jsontext import JsonValue, dumps
from wattbus.mqtt.embedded_broker import free_port
from wattbus.settings import ConnectorSettings, load
from wattbus.testing.far_ends import Address, Medium
from wattbus.testing.relay import Relay, relay

NAME = "under-test"
Variables = Mapping[str, Any]  # what is not text becomes JSON


@dataclass(frozen=True)
class ConnectorUnderTest:
    """A connector, its settings and its simulator.

    `name` is that of `wattbus run`. `package` is needed where the connector is not installed under that name yet.
    `tcp` gives the settings for a device at host and port, `serial` for one at a path; whichever the connector can.
    `settings` are further ones that it needs, `simulator` further ones of its simulator alone.

    `write` is a key that takes commands, and two values for it that are not equal; None when it takes none.
    `many` gives settings with so many datapoints, and a raw message that has a value for each of them.
    `wrong` has values that a setting refuses for reasons that its type does not show; `free` names settings that the
    suite shall leave alone.
    """

    name: str
    tcp: Callable[[str, int], Variables] | None = None
    serial: Callable[[str], Variables] | None = None
    package: str = ""
    settings: Variables = field(default_factory=dict)
    simulator: Variables = field(default_factory=dict)
    write: tuple[str, Scalar, Scalar] | None = None
    many: Callable[[int], tuple[Variables, JsonValue]] | None = None
    wrong: Mapping[str, Sequence[str]] = field(default_factory=dict)
    free: Sequence[str] = ()

    @property
    def media(self) -> list[Medium]:
        """How its device can be reached."""
        return [medium for medium in ("tcp", "serial") if getattr(self, medium) is not None]

    def variables(self, address: Address, **more: Any) -> dict[str, str]:
        """All that it is told, for a device at this address; None leaves a setting out."""
        at = cast(Any, self.serial)(address) if isinstance(address, str) else cast(Any, self.tcp)(*address)
        given = {"CONNECTOR_NAME": NAME, **self.settings, **at, **more}
        return {name: as_text(value) for name, value in given.items() if value is not None}

    def load(self, variables: Mapping[str, str]) -> ConnectorSettings:
        """Raises ConfigError."""
        return load(cast(type[ConnectorSettings], self._part("settings").Settings), variables)

    def create(self, settings: ConnectorSettings) -> Connector:
        """Raises ConfigError."""
        return cast(Connector, self._part("connector").create(settings))

    def connector(self, address: Address, **more: Any) -> Connector:
        """A new one, for a device at this address."""
        return self.create(self.load(self.variables(address, **more)))

    @contextlib.asynccontextmanager
    async def simulated(self, medium: Medium) -> AsyncIterator[Relay]:
        """Its simulator, behind a relay. Connecting to that is connecting to the device."""
        where: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

        def started(host: str, port: int) -> None:
            if port and not where.done():  # else it is the path of a pseudo-terminal
                where.set_result((host, port))

        with TemporaryDirectory() as folder:
            address: Address = f"{folder}/simulated" if self.tcp is None else ("127.0.0.1", free_port())
            settings = self.load(self.variables(address, **self.simulator))
            simulate = self._part("simulator").simulate
            device = asyncio.ensure_future(simulate(settings, "127.0.0.1", free_port(), started))
            try:
                await asyncio.wait({device, where}, return_when=asyncio.FIRST_COMPLETED)
                if device.done():
                    raise AssertionError("the simulator has ended") from device.exception()
                async with relay(medium, where.result()) as between:
                    yield between
            finally:
                device.cancel()
                await asyncio.wait([device])

    @cached_property
    def _package(self) -> str:
        return self.package or discovery.find(self.name).package

    def _part(self, module: str) -> ModuleType:
        return importlib.import_module(f"{self._package}.{module}")


def as_text(value: Any) -> str:
    """A setting's value as people write it."""
    return value if isinstance(value, str) else dumps(value).decode()


def link_down(error: BaseException | None) -> str:
    """The reason of a LinkDown. Raises what else there is, which is a bug of the connector."""
    assert error is not None, "run() came back: it ends with LinkDown, or when it is cancelled"
    for cause in causes(error):
        if not isinstance(cause, LinkDown):
            raise cause
    assert str(causes(error)[0]), "LinkDown has no reason in it"
    return str(causes(error)[0])


FAILED = (LinkDown, TimeoutError)
REFUSED = (CommandRejected, *FAILED)
