"""One request and the bytes that come back, judged. Pure.

What is found beside the answer is passed over: an answer to another request on TCP framing; on RTU framing, which has
no beginning of its own, noise, an echo of the request and the answers of neighbours. There a frame counts as the answer
when unit, function, length and checksum are those that the request asks for.
"""

from __future__ import annotations

import struct

from links.modbus_errors import BadAnswer, ModbusError, OddConfirmation, WrongUnit
from links.modbus_frames import LARGEST_PDU, FrameError, Framing, ModbusFrame, crc16, encode
from links.modbus_workarounds import NO_WORKAROUNDS, Workaround, normal_transaction, without_fault

_BITS, _REGISTERS, _WRITES = (1, 2), (3, 4), (5, 6, 15, 16)


class Transaction:
    """What was asked, to find its answer in what comes back.

    `used` are the workarounds without which there would be no answer, each with what was wrong. `echoes`: the line is
    known to repeat every request, so the first confirmation of a write that equals it is only the echo.
    """

    def __init__(
        self,
        framing: Framing,
        request: ModbusFrame,
        workarounds: frozenset[Workaround] = NO_WORKAROUNDS,
        *,
        echoes: bool = False,
    ) -> None:
        self.adu = encode(framing, request)
        self.used: dict[Workaround, str] = {}
        self.stray = ""
        self.saw_echo = False
        self.leaves_rubbish = False  # what comes behind the answer belongs to nothing
        self._framing = framing
        self._request = request
        self._function = request.pdu[0]
        self._workarounds = workarounds
        self._echoes = echoes or self._function not in _WRITES

    def answer_in(self, buffer: bytearray) -> bytes | None:
        """The answer's PDU, None while it is not there; what was looked at is taken from the front of `buffer`.

        Raises ModbusError when what answers the request is not an answer, FrameError when the stream cannot be trusted
        any more.
        """
        return self._in_tcp(buffer) if self._framing == "tcp" else self._in_rtu(buffer)

    def verdict(self, buffer: bytes) -> ModbusError | None:
        """What is wrong with bytes in which there is no answer, now that no more come; None: it may still follow."""
        if self._framing == "tcp" or not buffer.strip(b"\0"):
            return None
        data = buffer.lstrip(b"\0")
        if data[: len(self.adu)] == self.adu:
            return self.verdict(data[len(self.adu) :])
        if len(data) >= 4 and crc16(data[:-2]) == int.from_bytes(data[-2:], "little"):
            if self._request.unit and data[0] != self._request.unit:
                self.stray = f"an answer of unit {data[0]}"
                return None
            try:
                self._judged(data[1:-2])
            except ModbusError as error:
                return error
        if self._is_beginning(data):
            return None
        if data[0] == self._request.unit and len(data) > 1 and data[1] & 0x7F == self._function:
            return BadAnswer(f"wrong checksum or length: {data[:16].hex(' ')}")
        if len(data) > 1:
            return BadAnswer(f"answer of function {data[1] & 0x7F} to function {self._function}: {data[:16].hex(' ')}")
        return BadAnswer(f"no Modbus RTU frame: {data[:16].hex(' ')}")

    def last_word(self) -> ModbusError | None:
        """What is to be said of answers that were passed over, when the time is up."""
        if self._framing == "rtu" and self.stray.startswith("an answer of unit"):
            return WrongUnit(f"unit {self.stray.rsplit(maxsplit=1)[-1]} answered")
        return None

    # -- TCP framing ------------------------------------------------------------------------------------------------

    def _in_tcp(self, buffer: bytearray) -> bytes | None:
        while len(buffer) >= 7:
            transaction, protocol, length, unit = struct.unpack_from(">HHHB", buffer)
            if protocol != 0 or not 2 <= length <= LARGEST_PDU + 3:
                raise FrameError(f"no Modbus/TCP header: {bytes(buffer[:7]).hex(' ')}")
            end = 6 + length
            if len(buffer) < end:
                if not self._is_long_exception(buffer, length):
                    return None
                end, self.leaves_rubbish = len(buffer), True
            pdu = bytes(buffer[7:end])
            del buffer[:end]
            if not self._is_own(transaction):
                self.stray = f"an answer to another request (transaction {transaction})"
                continue
            if self._request.unit and unit != self._request.unit:  # to unit 0 a device may answer with its own
                raise WrongUnit(f"unit {unit} answered")
            return self._judged(pdu)
        return None

    def _is_own(self, transaction: int) -> bool:
        if transaction == self._request.transaction:
            return True
        if not normal_transaction(transaction, self._request.transaction):
            return False
        return self._allows("transaction_id", f"transaction {transaction} to {self._request.transaction}")

    def _is_long_exception(self, buffer: bytearray, length: int) -> bool:
        """Nine bytes whose header announces ten: an exception whose length counts one byte too many."""
        is_one = len(buffer) == 9 and length == 4 and buffer[7] == self._function | 0x80
        return is_one and self._allows("exception_length", "an exception of 9 bytes that announces 10")

    # -- RTU framing ------------------------------------------------------------------------------------------------

    def _in_rtu(self, buffer: bytearray) -> bytes | None:
        data = bytes(buffer)
        at = 0
        skips_echo = self._echoes
        while at + 5 <= len(data):
            if skips_echo and data.startswith(self.adu, at):
                self.saw_echo = True
                skips_echo = self._function not in _WRITES  # the second one is the confirmation
                at += len(self.adu)
                continue
            pdu = self._pdu_at(data, at)
            if pdu is not None:
                del buffer[: at + len(pdu) + 3]
                return self._judged(pdu)
            at += 1
        return None

    def _pdu_at(self, data: bytes, at: int) -> bytes | None:
        if self._request.unit and data[at] != self._request.unit:
            return None
        function = data[at + 1]
        if function == self._function | 0x80:
            lengths = [5]
        elif function != self._function:
            return None
        elif function in _WRITES:
            lengths = [8, 9, 10, len(self.adu)]
        else:
            size = self._size
            lengths = [5 + data[at + 2], 5 + size, 6 + size, 7 + size]
        for length in lengths:
            frame = data[at : at + length]
            if len(frame) == length and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little"):
                return frame[1:-2]
        return None

    def _is_beginning(self, data: bytes) -> bool:
        """Whether more may follow that makes this the answer."""
        if self._request.unit and data[0] != self._request.unit:
            return False
        if len(data) < 2:
            return True
        if data[1] == self._function | 0x80:
            return len(data) < 5
        if data[1] != self._function:
            return False
        if self._function in _WRITES:
            return len(data) < 8
        return len(data) < 3 or (data[2] == self._size and len(data) < 5 + self._size)

    # -- both -------------------------------------------------------------------------------------------------------

    @property
    def _size(self) -> int:
        """How many bytes of values a read asks for."""
        count = int.from_bytes(self._request.pdu[3:5], "big")
        return (count + 7) // 8 if self._function in _BITS else 2 * count

    def _allows(self, workaround: Workaround, what: str) -> bool:
        if workaround in self._workarounds:
            self.used[workaround] = what
            return True
        return False

    def _judged(self, pdu: bytes) -> bytes:
        """The PDU as it should be. Raises ModbusError."""
        function = self._function
        if pdu[0] == function | 0x80 and len(pdu) >= 2:
            return pdu
        if pdu[0] != function:
            raise BadAnswer(f"answer of function {pdu[0]} to function {function}")
        if function in _WRITES:
            expected = self._request.pdu[:5]
            fault = f"the device confirmed {pdu.hex(' ')} instead of {expected.hex(' ')}"
        else:
            if len(pdu) == self._size + 2 and pdu[1] == self._size:
                return pdu
            expected = bytes([function, self._size]) + pdu[2 : self._size + 2]
            fault = f"{len(pdu) - 2} bytes of values instead of {self._size}"
            if len(pdu) > 1 and pdu[1] != len(pdu) - 2:
                fault += f", and it announces {pdu[1]}"
        if function in _WRITES and pdu == expected:
            return pdu
        remedy = without_fault(self._request.pdu, pdu, expected)
        if remedy is not None and self._allows(remedy, fault):
            return expected
        hint = f" (MODBUS_WORKAROUNDS={remedy} would accept it)" if remedy is not None else ""
        raise (OddConfirmation if function in _WRITES else BadAnswer)(fault + hint)
