"""Writing one entry, and finding out what became of it when the device does not simply confirm."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from connectors.modbus_tcp.config import WriteCoil, WriteCoils, WriteRegisters
from links.modbus import ModbusLink
from links.modbus_errors import ExceptionAnswer, ModbusError, OddConfirmation
from wattbus.clock import Clock
from wattbus.errors import CommandRejected, LinkDown

log = logging.getLogger(__name__)

# A device that has accepted a write and takes long is asked for the result after these pauses (s).
_TAKES_LONG_S = (0.1, 0.2, 0.4, 0.8, 1.6)
_ODD_S = (0.0, 0.2)


class RegisterWriter:
    """Writes and judges. Nothing that may have been executed is written again by itself.

    What the device confirms in a way that cannot be right is read back: it is applied when it stands there. When it
    does not, the command fails, and the same value for the same registers is rejected from then on without touching
    the device, until another value was written: whoever repeats failed commands would else write for ever.
    """

    def __init__(self, modbus: ModbusLink, clock: Clock) -> None:
        self._modbus = modbus
        self._clock = clock
        self._odd: dict[tuple[str, int, int], tuple[list[int], str]] = {}

    async def write(self, method: str, entry: WriteCoil | WriteCoils | WriteRegisters, words: list[int]) -> None:
        """Return when it is applied. Raises CommandRejected and LinkDown (it failed)."""
        place = (method, entry.unit, entry.address)
        before = self._odd.get(place)
        if before is not None and before[0] == words:
            raise CommandRejected(f"not written again: {before[1]}")
        try:
            await self._modbus.write(method, entry.unit, entry.address, words)
        except ExceptionAnswer as answer:
            if answer.is_acknowledged:
                await self._accepted(method, entry, words, answer)
            elif answer.says_no:
                raise CommandRejected(answer.reason) from answer
            else:
                raise LinkDown(str(answer)) from answer
        except OddConfirmation as odd:
            if await self._stands_there(method, entry, words, _ODD_S) is not True:
                self._odd[place] = (words, str(odd))
                raise LinkDown(f"{odd}; it cannot be read back") from odd
            log.warning("%s; it was executed: read back", odd)
        except ModbusError as error:
            raise LinkDown(str(error)) from error
        self._odd.pop(place, None)

    async def _accepted(
        self, method: str, entry: WriteCoil | WriteCoils | WriteRegisters, words: list[int], answer: ExceptionAnswer
    ) -> None:
        found = await self._stands_there(method, entry, words, _TAKES_LONG_S)
        if found is None:
            log.warning("%s: accepted, and it cannot be read back: taken for applied", answer)
        elif not found:
            raise LinkDown(f"{answer}: accepted, and after {sum(_TAKES_LONG_S):g} s not executed")

    async def _stands_there(
        self,
        method: str,
        entry: WriteCoil | WriteCoils | WriteRegisters,
        words: list[int],
        pauses_s: Sequence[float],
    ) -> bool | None:
        """Whether the device has what was written; None when it does not let it be read."""
        reads = "read_coils" if isinstance(entry, WriteCoil | WriteCoils) else "read_holding_registers"
        for pause_s in pauses_s:
            await self._clock.sleep(pause_s)
            try:
                found = await self._modbus.read(reads, entry.unit, entry.address, len(words), urgent=True)
            except ExceptionAnswer as error:
                if error.says_no:
                    return None
            except ModbusError as error:
                log.debug("reading back: %s", error)
            else:
                if [int(word) for word in found] == [int(word) for word in words]:
                    return True
        return False
