"""One request and the bytes that come back, judged. Pure."""

from __future__ import annotations

from links.modbus_errors import BadAnswer, ModbusError, WrongUnit
from links.modbus_frames import FUNCTION_CODES, FrameError, Framing, ModbusFrame, split_rtu_answer, split_tcp


class Transaction:
    """What was asked, to judge what comes back."""

    def __init__(self, framing: Framing, request: bytes) -> None:
        self._framing = framing
        self._request = split_tcp(request)[0][0] if framing == "tcp" else ModbusFrame(0, request[0], request[1:-2])
        self.stray = ""
        self.answered = False

    def fault_in(self, buffer: bytes) -> ModbusError | None:
        """What is wrong with the answer in `buffer`; None: nothing, or it is not complete. Raises FrameError."""
        for frame in self._frames(buffer):
            if frame.transaction != self._request.transaction:
                self.stray = f"an answer to another request (transaction {frame.transaction})"
                continue
            if self._request.unit and frame.unit != self._request.unit:  # to unit 0 a device may answer with its own
                return WrongUnit(f"unit {frame.unit} answered")
            fault = self._fault_in_pdu(frame.pdu)
            self.answered = fault is None
            return fault
        return None

    def _frames(self, buffer: bytes) -> list[ModbusFrame]:
        if self._framing == "tcp":
            return split_tcp(buffer)[0]
        if len(buffer) > 1 and buffer[1] & 0x7F != self._request.pdu[0]:
            # Its length, and so its end, is not known.
            raise FrameError(f"answer of function {buffer[1] & 0x7F} to function {self._request.pdu[0]}")
        frame = split_rtu_answer(buffer)
        return [] if frame is None else [frame]

    def _fault_in_pdu(self, pdu: bytes) -> ModbusError | None:
        request = self._request.pdu
        function = request[0]
        if pdu[0] == function | 0x80 and len(pdu) >= 2:
            return None
        if pdu[0] != function:
            return BadAnswer(f"answer of function {pdu[0]} to function {function}")
        if function in (FUNCTION_CODES["write_coil"], FUNCTION_CODES["write_register"]):
            expected = request
        elif function in (FUNCTION_CODES["write_coils"], FUNCTION_CODES["write_registers"]):
            expected = request[:5]
        else:
            count = int.from_bytes(request[3:5], "big")
            size = (count + 7) // 8 if function in (1, 2) else 2 * count
            if len(pdu) != size + 2 or pdu[1] != size:
                return BadAnswer(f"{len(pdu) - 2} bytes of values instead of {size}")
            return None
        if pdu != expected:
            return BadAnswer(f"the device confirmed {pdu.hex(' ')} instead of {expected.hex(' ')}")
        return None
