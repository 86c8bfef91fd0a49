"""What a host asks its receiver, and the dialogue over an open line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from connectors.im871a.receivers.heard import HeardTelegram, Take
from links.serial_line import Line, open_line
from links.serial_port import SerialPort
from links.serial_silence import SilenceWatch
from wattbus.connector import Link
from wattbus.errors import LinkDown

ANSWER_S, TRIES = 1.0, 3
PAUSE_S = 0.2  # longer than any pause within a frame


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """What a receiver says that is not a telegram: which kind, and what."""

    kind: int | str
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class ReceiverQuestion:
    """Bytes for the receiver, and which kind of answer belongs to them; None where none comes."""

    data: bytes
    answer: int | str | None
    what: str


Dialogue = Generator[ReceiverQuestion, ReceiverAnswer | None, None]


class ReceiverCodec(Protocol):
    """A receiver's language. Pure but for what it holds of an unfinished frame."""

    damaged: int

    def feed(self, data: bytes) -> Iterable[HeardTelegram | ReceiverAnswer]: ...

    def pause(self) -> None: ...

    def set_up(self, link_mode: str) -> Dialogue:
        """Make it listen. Raises ValueError with what is wrong with its answer."""


class SerialReceiver:
    """A receiver behind a byte line. `make_codec` gives a new codec for every opening."""

    def __init__(
        self, port: SerialPort, make_codec: Callable[[], ReceiverCodec], link_mode: str, silence: SilenceWatch
    ) -> None:
        self._port = port
        self._make_codec = make_codec
        self._link_mode = link_mode
        self._silence = silence
        self._waiting: tuple[int | str, asyncio.Future[ReceiverAnswer]] | None = None

    async def run(self, link: Link, take: Take) -> NoReturn:
        """Open, set up and listen. Raises LinkDown."""
        codec = self._make_codec()
        async with open_line(self._port) as line, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(line, codec, take), name="receiver")
            await self._set_up(line, codec)
            await self._silence.opened(lambda: self._set_up(line, codec))
            if not self._silence.is_silent:
                link.connected()
            await self._silence.guard()

    async def _read(self, line: Line, codec: ReceiverCodec, take: Take) -> NoReturn:
        while True:
            try:
                async with asyncio.timeout(PAUSE_S):
                    arrived = await line.read()
            except TimeoutError:
                codec.pause()
                arrived = await line.read()
            for said in codec.feed(arrived):
                if isinstance(said, HeardTelegram):
                    take(said)
                elif self._waiting is not None and self._waiting[0] == said.kind and not self._waiting[1].done():
                    self._waiting[1].set_result(said)

    async def _set_up(self, line: Line, codec: ReceiverCodec) -> None:
        dialogue, answer = codec.set_up(self._link_mode), None
        while True:
            try:
                question = dialogue.send(answer)
            except StopIteration:
                return
            except ValueError as error:
                raise LinkDown(f"{line.name}: {error}") from None
            answer = await self._ask(line, question)

    async def _ask(self, line: Line, question: ReceiverQuestion) -> ReceiverAnswer | None:
        if question.answer is None:
            await line.write(question.data)
            return None
        for _ in range(TRIES):
            self._waiting = question.answer, asyncio.get_running_loop().create_future()
            try:
                await line.write(question.data)
                async with asyncio.timeout(ANSWER_S):
                    return await self._waiting[1]
            except TimeoutError:
                continue
            finally:
                self._waiting = None
        came = f"{line.bytes_received} bytes came, and no answer" if line.bytes_received else "nothing came"
        raise LinkDown(
            f"{line.name}: no answer from the receiver ({question.what}; {came}): is it what IM871A_RECEIVER says, and "
            "at this baud rate?"
        )
