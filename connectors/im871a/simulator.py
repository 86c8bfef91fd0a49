"""A stick that is not there, and an electricity meter in its air: for trying out, and for tests."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence

from connectors.im871a.receivers.simulated import (
    SimulatedAmb8465,
    SimulatedCul,
    SimulatedIu891a,
    SimulatedLines,
    SimulatedReceiver,
)
from connectors.im871a.settings import FAULTS, Settings
from connectors.im871a.simulated_air import file_telegrams, meter_telegrams, read_file
from connectors.im871a.simulated_stick import SimulatedStick
from links.serial_stage import stage
from wattbus.errors import ConfigError

SIMULATED: dict[str, type[SimulatedReceiver]] = {
    "iu891a": SimulatedIu891a,
    "amb8465": SimulatedAmb8465,
    "cul": SimulatedCul,
    "lines": SimulatedLines,
}


async def simulate(
    settings: Settings, host: str = "127.0.0.1", port: int = 0, started: Callable[[str, int], None] | None = None
) -> None:
    """Be a receiver for ever, on a pseudo-terminal and on TCP when a port is given. Raises ConfigError.

    The pseudo-terminal's name is that of IM871A_PORT when that is a path outside /dev that is free. `started` is told
    the path and 0, then address and port of TCP. It plays IM871A_SIMULATE_FILE over and over; without one there is a
    meter with the number 20000001 and the key 000102…0f.
    """
    playing = _playing(settings)
    faults = set(_faults(settings))
    if settings.im871a_receiver == "im871a":
        stick = SimulatedStick(lambda data: None, faults=faults)
        async with stage(settings.port, stick.hears, host, port, started) as scene:
            stick.say = scene.say
            async for telegram in playing:
                stick.receives(telegram, rssi=random.randrange(60, 140))
        return
    receiver = SIMULATED[settings.im871a_receiver]()
    async with stage(settings.port, receiver.hears, host, port, started) as scene:
        receiver.say = scene.say
        async for telegram in playing:
            receiver.receives(telegram, rssi_dbm=random.randrange(-95, -40))


def _faults(settings: Settings) -> Sequence[str]:
    faults = settings.im871a_simulate_faults.split()
    if wrong := set(faults) - set(FAULTS):
        raise ConfigError(
            f"IM871A_SIMULATE_FAULTS: {', '.join(sorted(wrong))} is not known; there are {', '.join(FAULTS)}"
        )
    return faults


def _playing(settings: Settings) -> AsyncIterator[bytes]:
    interval_s = settings.im871a_simulate_interval_seconds
    if settings.im871a_simulate_file is None:
        return meter_telegrams(interval_s)
    return file_telegrams(read_file(settings.im871a_simulate_file, interval_s))
