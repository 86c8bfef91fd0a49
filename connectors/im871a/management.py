"""What the stick says of itself, and how it is set: payloads of its device management. Pure.

Source: IMST, WM-Bus HCI specification for the iM871A; a configuration and a device information of real sticks are in
the tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from connectors.im871a.hci import DEVICE_MANAGEMENT, SET_CONFIGURATION, HciFrame
from wattbus.errors import DecodeError

LINK_MODES = {
    "S1": 0, "S1-m": 1, "S2": 2, "T1": 3, "T2": 4, "R2": 5, "C1A": 6, "C1B": 7, "C2A": 8, "C2B": 9, "C+T": 10,
}  # fmt: skip
FIRST_FIRMWARE_WITH_C_AND_T = 0x14
IM871A, IM170A = 0x33, 0x36
MODULES = {IM871A: "iM871A", IM170A: "iM170A"}
# What a stick must be to hear everything: no meter itself (which hears only after it has sent), and always awake.
OTHER_THAN_METER, ALWAYS_AWAKE = 0, 0


@dataclass(frozen=True, slots=True)
class DeviceInformation:
    """What the stick says of itself."""

    module: int
    mode: int
    firmware: int
    hci_version: int
    uid: int

    @property
    def module_name(self) -> str:
        return MODULES.get(self.module, f"module 0x{self.module:02X}")

    @property
    def can_receive_c_and_t(self) -> bool:
        return self.firmware >= FIRST_FIRMWARE_WITH_C_AND_T


def device_information(payload: bytes) -> DeviceInformation:
    """Raises DecodeError."""
    if len(payload) < 8:
        raise DecodeError(f"device information has 8 bytes, not {len(payload)}")
    return DeviceInformation(*payload[:4], *struct.unpack_from("<I", payload, 4))


# The fields of a configuration in their order: name and size in bytes; one bit each in two bytes of flags.
_FIELDS = (
    (("device_mode", 1), ("link_mode", 1), ("c_field", 1), ("manufacturer", 2), ("device", 4), ("version", 1),
     ("device_type", 1), ("radio_channel", 1)),
    (("power_level", 1), ("data_rate", 1), ("receive_window", 1), ("power_saving", 1), ("rssi", 1), ("timestamp", 1),
     ("led", 1), ("clock", 1)),
)  # fmt: skip


def configuration(payload: bytes) -> dict[str, int]:
    """The fields of a configuration by name; only those that its flags say are there. Raises DecodeError."""
    fields: dict[str, int] = {}
    position = 0
    for group in _FIELDS:
        if position >= len(payload):
            raise DecodeError("a configuration ends before its flags")
        flags = payload[position]
        position += 1
        for bit, (name, size) in enumerate(group):
            if flags >> bit & 1:
                if position + size > len(payload):
                    raise DecodeError(f"a configuration ends within its field {name}")
                fields[name] = int.from_bytes(payload[position : position + size], "little")
                position += size
    return fields


def set_configuration(fields: dict[str, int]) -> HciFrame:
    """The request to change these fields, until the stick loses its power: its flash wears."""
    payload = bytearray([0])
    for group in _FIELDS:
        flags, content = 0, b""
        for bit, (name, size) in enumerate(group):
            if name in fields:
                flags |= 1 << bit
                content += fields[name].to_bytes(size, "little")
        payload += bytes([flags]) + content
    return HciFrame(DEVICE_MANAGEMENT, SET_CONFIGURATION, bytes(payload))


def to_hear_all(link_mode: str) -> dict[str, int]:
    """The configuration with which a stick hears every telegram in a link mode, and says how strong it was."""
    return {
        "device_mode": OTHER_THAN_METER,
        "link_mode": LINK_MODES[link_mode],
        "power_saving": ALWAYS_AWAKE,
        "rssi": 1,
        "timestamp": 0,
    }
