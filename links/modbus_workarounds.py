"""Faults of devices that can be put up with, by name. Pure.

pymodbus 2.4, which BEMCom pins, read all of these without a word; here each is a decision, and is logged when it is
used first.
"""

from __future__ import annotations

from typing import Literal, get_args

Workaround = Literal[
    "transaction_id", "extra_bytes", "padded_coils", "write_confirmation", "write_echo", "exception_length"
]
WORKAROUNDS: tuple[Workaround, ...] = get_args(Workaround)
NO_WORKAROUNDS: frozenset[Workaround] = frozenset()
# No value and no confirmation can be mistaken with these.
HARMLESS: frozenset[Workaround] = frozenset({"padded_coils", "write_echo", "exception_length"})


def normal_transaction(given: int, asked: int) -> bool:
    """Whether a transaction id is off by one, or has its bytes swapped."""
    return (given - asked) & 0xFFFF in (1, 0xFFFF) or given == (asked & 0xFF) << 8 | asked >> 8


def without_fault(request: bytes, given: bytes, expected: bytes) -> Workaround | None:
    """Which workaround makes `given` (a PDU) what was `expected`; None: none does."""
    function = request[0]
    if function in (15, 16) and given == request:
        return "write_echo"
    if function in (5, 6, 15, 16):
        return "write_confirmation"
    extra = len(given) - len(expected)
    size = expected[1]
    if len(given) < 2 or extra < 1 or given[1] not in (size, size + extra):
        return None
    if function in (1, 2) and not any(given[len(expected) :]):
        return "padded_coils"
    return "extra_bytes" if extra <= 2 else None
