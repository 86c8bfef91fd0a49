"""The fixed data structure of old wired meters (EN 1434-3:1997; M-Bus documentation 4.8, section 6.2): two counters."""

from __future__ import annotations

from connectors.im871a.telegram.address import Address
from connectors.im871a.telegram.layers import Layers
from connectors.im871a.telegram.layout import Meaning, compile_layout
from connectors.im871a.telegram.model import Damaged
from connectors.im871a.telegram.records import Coded, Content
from connectors.im871a.telegram.vif import Vif

LENGTH = 16  # identification 4, access number, status, medium and units 2, two counters of 4
BINARY = 0x01  # of the status byte: counters are binary, not BCD
HISTORIC, WITHOUT_UNIT = 0x3E, 0x3F
BCD_DIF, BINARY_DIF = 0x0C, 0x04
STORAGE_1 = 0x40

# Code of the unit → quantity and unit of the first, and the power of ten; the following codes are tens of it.
_UNITS = (
    (0x02, 9, Vif("energy", "kW.h", -3)),
    (0x0B, 9, Vif("energy", "MJ", -3)),
    (0x14, 9, Vif("power", "W", 0)),
    (0x1D, 9, Vif("power", "MJ/h", -3)),
    (0x26, 9, Vif("volume", "m3", -6)),
    (0x2F, 9, Vif("volume_flow", "m3/h", -6)),
    (0x38, 1, Vif("temperature", "Cel", -3)),
    (0x39, 1, Vif("heat_cost_allocation")),
)


def open_fixed(layers: Layers) -> Content:
    """The two counters as records; tells `layers` who the meter is, too. Raises Damaged."""
    data = layers.content
    if len(data) != LENGTH:
        raise Damaged(f"the fixed data structure has {LENGTH} bytes, these are {len(data)}")
    number, units = data[:4], data[6:8]
    if layers.high_first:
        number, units = number[::-1], units[::-1]
    device_type = units[0] >> 6 | units[1] >> 6 << 2
    layers.meter = layers.sender = Address(bytes(2) + number + bytes([0, device_type]))
    layers.access_number = data[4]
    layers.status = data[5] & 0x1C  # the other bits do not speak of the meter's health
    dif = BINARY_DIF if data[5] & BINARY else BCD_DIF
    first, second = (_vif(unit & 0x3F) for unit in units)
    content = Content()
    for n, vif in enumerate((first, second or first)):
        dib = bytes([dif]) if n == 0 else bytes([dif | STORAGE_1]) if second is None else bytes([dif | 0x80, 0x40])
        counter = data[8 + 4 * n : 12 + 4 * n]
        layout = compile_layout(dib, Meaning(vif or Vif("counter")))
        content.coded.append(Coded(layout, b"", counter[::-1] if layers.high_first else counter))
    return content


def _vif(code: int) -> Vif | None:
    """Quantity and unit; None for "the same as the first, but historic"."""
    if code == HISTORIC:
        return None
    for first, count, vif in _UNITS:
        if first <= code < first + count:
            return Vif(vif.quantity, vif.unit, vif.exponent + code - first)
    return Vif("counter")
