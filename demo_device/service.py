"""The demo device as a service: the room behind a Modbus/TCP server."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from demo_device.registers import UNIT, RoomBank
from demo_device.room import Room
from demo_device.settings import Settings
from links.modbus_server import ModbusServer
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import AddressTaken, ConfigError

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0


class RunningRoom:
    """The room, whose time runs with the clock, faster by a factor."""

    def __init__(self, room: Room, time_factor: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self.room = room
        self._factor = time_factor
        self._clock = clock
        self._last = clock.monotonic()

    def catch_up(self) -> None:
        """Bring the room to the present."""
        now = self._clock.monotonic()
        self.room.step((now - self._last) * self._factor)
        self._last = now


async def run(
    settings: Settings, started: Callable[[str, int], None] | None = None, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Serve for ever; `started` is told address and port. Raises ConfigError when it cannot listen there.

    AddressTaken when something else does.
    """
    running = RunningRoom(Room(), settings.time_factor, clock)
    server = ModbusServer({UNIT: RoomBank(running.room, running.catch_up)})
    try:
        await server.start(settings.demo_device_host, settings.demo_device_port)
    except OSError as error:
        kind = AddressTaken if error.errno == errno.EADDRINUSE else ConfigError
        raise kind(
            f"DEMO_DEVICE_HOST, DEMO_DEVICE_PORT: cannot listen on {settings.demo_device_host}:"
            f"{settings.demo_device_port}: {error.strerror or error}; ports below 1024 need privileges"
        ) from None
    async with server:
        log.info("the demo device listens on %s:%d, unit %d", server.host, server.port, UNIT)
        if started is not None:
            started(server.host, server.port)
        while True:
            running.catch_up()
            if settings.log_values:
                _log(running.room)
            await clock.sleep(LOG_INTERVAL_S)


def _log(room: Room) -> None:
    log.info(
        "Current temperature: %.1f, setpoint: %.1f, outside: %.1f, heat pump: %s, %.0f W",
        room.temperature_c,
        room.setpoint_c,
        room.outside_c,
        room.mode,
        room.electrical_power_w,
    )
