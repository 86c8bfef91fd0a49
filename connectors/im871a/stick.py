"""The dialogue with a stick over an open line: questions with answers, and telegrams in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from connectors.im871a import hci, management
from connectors.im871a.hci import HciFrame
from links.serial_line import Line
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.errors import DecodeError, LinkDown

ANSWER_S, TRIES = 1.0, 3
SETTLE_S = 0.5  # after a change of its configuration or a reset the stick hears nothing for a moment
# Frames tell themselves whether these two follow, so a stick that goes its own way there is no reason to stop.
NOT_ESSENTIAL = {"rssi", "timestamp"}
PAUSE_S = 0.2  # at 57,600 bit/s the longest frame takes 0.05 s: after this pause no more of it will come


class Stick:
    """One stick. `read()` must run for the questions to be answered; `heard` gets every telegram.

    A telegram without CRC counts only once the stick has answered something: until then it may be another device.
    """

    def __init__(self, line: Line, heard: Callable[[HciFrame], None], clock: Clock = SYSTEM_CLOCK) -> None:
        self.frames = hci.Frames()
        self._line = line
        self._heard = heard
        self._clock = clock
        self._has_answered = False
        self._asking = asyncio.Lock()
        self._question: HciFrame | None = None
        self._answer: asyncio.Future[HciFrame] | None = None

    async def read(self) -> NoReturn:
        """Take what the stick says, for ever. Raises LinkDown when the line is gone."""
        while True:
            try:
                async with asyncio.timeout(None if self.frames.is_between_frames else PAUSE_S):
                    arrived = self.frames.feed(await self._line.read())
            except TimeoutError:
                arrived = self.frames.give_up()
            for frame in arrived:
                self._take(frame)

    def _take(self, frame: HciFrame) -> None:
        if frame.is_telegram:
            if frame.checked or self._has_answered:
                self._heard(frame)
        elif self._answer is not None and not self._answer.done() and self._is_answer(frame):
            self._has_answered = True
            self._answer.set_result(frame)

    def _is_answer(self, frame: HciFrame) -> bool:
        return self._question is not None and frame.answers(self._question)

    async def ask(self, question: HciFrame) -> HciFrame:
        """The answer to a question. Raises LinkDown when there is none."""
        async with self._asking:
            for _ in range(TRIES):
                self._question, self._answer = question, asyncio.get_running_loop().create_future()
                try:
                    await self._line.write(question.encode())
                    async with asyncio.timeout(ANSWER_S):
                        return await self._answer
                except TimeoutError:
                    continue
                finally:
                    self._question = self._answer = None
        came = f"{self._line.bytes_received} bytes came, and no answer" if self._line.bytes_received else "nothing came"
        raise LinkDown(f"{self._line.name}: no answer from the stick ({came}): is it an iM871A, and at this baud rate?")

    async def reset(self) -> None:
        """Start the stick anew. Raises LinkDown when it does not even answer that."""
        await self.ask(HciFrame(hci.DEVICE_MANAGEMENT, hci.RESET))
        await self._clock.sleep(SETTLE_S)

    async def listen(self, link_mode: str) -> management.DeviceInformation:
        """Make it listen in this mode, and see that it does. Raises LinkDown.

        What is right already is not set; what is set is gone when the stick loses its power.
        """
        information = await self._information()
        if information.module == management.IM170A:
            raise LinkDown(f"{self._line.name}: an iM170A hears other meters (169 MHz): an iM871A is needed")
        if link_mode == "C+T" and not information.can_receive_c_and_t:
            raise LinkDown(
                f"{information.module_name}: its firmware 0x{information.firmware:02X} cannot receive C+T (0x14 can): "
                "set IM871A_LINK_MODE to T1 or C1A"
            )
        wanted = management.to_hear_all(link_mode)
        wrong = await self._wrong(wanted)
        for _ in range(TRIES):
            if not wrong:
                return information
            await self.ask(management.set_configuration({name: wanted[name] for name in wrong}))
            await self._clock.sleep(SETTLE_S)
            wrong = await self._wrong(wanted)
        if told := _essential(wrong, wanted):
            raise LinkDown(f"{information.module_name}: does not take its configuration: {told}")
        return information

    async def check(self, link_mode: str) -> None:
        """See that it answers and still listens in this mode: after a start of its own it does not. Raises LinkDown."""
        wanted = management.to_hear_all(link_mode)
        if told := _essential(await self._wrong(wanted), wanted):
            raise LinkDown(f"{self._line.name}: the stick has forgotten its configuration (did it start anew?): {told}")

    async def _wrong(self, wanted: dict[str, int]) -> dict[str, int | None]:
        """What is set otherwise, and how. A stick need not tell all, but its link mode."""
        present = await self._configuration()
        told = {name: present.get(name, value) for name, value in wanted.items()}
        differing: dict[str, int | None] = {name: value for name, value in told.items() if value != wanted[name]}
        return differing if "link_mode" in present else {**differing, "link_mode": None}

    async def _information(self) -> management.DeviceInformation:
        answer = await self.ask(HciFrame(hci.DEVICE_MANAGEMENT, hci.DEVICE_INFORMATION))
        try:
            return management.device_information(answer.payload)
        except DecodeError as error:
            raise LinkDown(f"{self._line.name}: what answers is no iM871A: {error}") from error

    async def _configuration(self) -> dict[str, int]:
        answer = await self.ask(HciFrame(hci.DEVICE_MANAGEMENT, hci.GET_CONFIGURATION))
        try:
            return management.configuration(answer.payload)
        except DecodeError as error:
            raise LinkDown(f"{self._line.name}: what answers is no iM871A: {error}") from error


def _essential(wrong: dict[str, int | None], wanted: dict[str, int]) -> str:
    """In words, what must not stay as it is."""
    return ", ".join(
        f"{name} is {value} instead of {wanted[name]}" for name, value in wrong.items() if name not in NOT_ESSENTIAL
    )
