"""The dialogue with a radio board: how it is set, packets that it shall send. One question at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from connectors.rfm2pi.bands import is_set
from connectors.rfm2pi.codec import Chatter, Info, Said, SentPacket
from connectors.rfm2pi.nodes import MOST_BYTES
from links.serial_line import Line
from wattbus.connector import Scalar
from wattbus.errors import CommandRejected, LinkDown

log = logging.getLogger(__name__)

TRIES = 3
HIGHEST_NODE = 31  # five bits of the packet's header (JeeLib); RF12demo makes 8 of the base id 40

# Setting → command. RF12demo (and what OpenEnergyMonitor made of it): the number, then a letter.
RF12DEMO: Mapping[str, Callable[[Scalar], str]] = {
    "frequency": lambda megahertz: f"{str(megahertz)[0]}b",
    "group": lambda group: f"{group}g",
    "base_id": lambda number: f"{number}i",
    "quiet": lambda quiet: f"{int(bool(quiet))}q",
}
# The newer firmware for RFM69Pi: the letter first, to the end of the line; it locks itself for two seconds otherwise.
LETTERS: Mapping[str, Callable[[Scalar], str]] = {
    "frequency": lambda megahertz: f"b{str(megahertz)[0]}\n",
    "group": lambda group: f"g{group}\n",
    "base_id": lambda number: f"i{number}\n",
}


class NotConfirmed(Exception):  # noqa: N818 - a state of the world
    """The board took a command, and did not say that it executed it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a board may take (s): for an answer (it may just be starting), for sending; between two settings."""

    answer_s: float = 2.5
    sent_s: float = 3.0
    pause_s: float = 1.0


class Board:
    """The board at the far end of an open line. `heard()` gets everything it says.

    `known` is set once it was asked how it is set, and has had its time to answer. `doubt` is set when it says so
    unasked, or that it started: then its settings may be others.
    """

    def __init__(self, line: Line, pace: Pace = Pace()) -> None:
        self.info = Info()
        self.answers = False
        self.doubt = asyncio.Event()
        self.known = asyncio.Event()
        self._line = line
        self._pace = pace
        self._turn = asyncio.Lock()  # one question at a time
        self._setting = asyncio.Lock()  # one change of settings at a time, from the question to the proof
        self._expected: Callable[[Said], bool] | None = None
        self._answer: asyncio.Future[Said] | None = None
        self._told_unsaid: set[str] = set()  # settings that it does not tell: once each, it keeps them in its EEPROM
        self._gone = ""

    def heard(self, said: Said) -> None:
        """The board said something that is not a frame."""
        if isinstance(said, Info):
            self._learn(said)
        if self._answer is not None and not self._answer.done() and self._expected is not None:
            if self._expected(said):
                self._answer.set_result(said)
        elif not self._turn.locked() and _is_answer(said):
            self.doubt.set()

    def gone(self, reason: str) -> None:
        """The line is closed: whoever waits for an answer will not get it."""
        self._gone = reason
        self.known.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LinkDown(reason))

    # -- settings ---------------------------------------------------------------------------------------------------

    async def ask(self) -> Info | None:
        """How the board is set; None when it does not answer, as the oldest firmware. Raises LinkDown."""
        async with self._turn:
            for _ in range(TRIES):
                said = await self._expect("v", _is_answer, self._pace.answer_s)
                if said is None:
                    continue
                self.answers = True
                if not _speaks_letters(said):
                    return self.info
                self.info = Info(speaks_letters=True)
                await self._expect("L\n", self._all_is_told, self._pace.answer_s)
                return self.info
        return None

    async def set_up(self, wanted: Mapping[str, Scalar], *, only_look: bool = False) -> list[str]:
        """Set what differs from `wanted`; what then still does, in words. Raises LinkDown."""
        async with self._setting:
            info = await self.ask()
            if not only_look:
                info = await self._make_so(info, wanted)
            self.known.set()
            return [f"its {name} is {getattr(info, name)}, not {wanted[name]}" for name in self._wrong(info, wanted)]

    async def _make_so(self, info: Info | None, wanted: Mapping[str, Scalar]) -> Info | None:
        unsaid = [name for name in wanted if getattr(info, name, None) is None and name not in self._told_unsaid]
        for attempt in range(2):
            for name in [*self._wrong(info, wanted), *(unsaid if attempt == 0 else ())]:
                await self._command(name, wanted[name])
            self._told_unsaid.update(unsaid)
            if info is None or not self._wrong(info, wanted):
                break
            info = await self.ask() or info
        return info

    async def change(self, name: str, value: Scalar) -> None:
        """Set one thing and make sure of it. Raises CommandRejected, LinkDown, NotConfirmed."""
        async with self._setting:
            await self._change(name, value)

    async def _change(self, name: str, value: Scalar) -> None:
        if not self.answers:
            await self.ask()
        if fault := self._refusal(name, value):
            raise CommandRejected(fault)
        before = getattr(self.info, name)
        await self._command(name, value)
        info = await self.ask()
        if info is None:
            raise NotConfirmed("the board does not tell how it is set")
        now = getattr(info, name)
        if now is None or is_set(name, now, value):  # None: this firmware does not tell
            return
        if now != before and before is not None:  # it has made something else of it
            await self._command(name, before)
            await self.ask()
        locked = "; it is locked: `123x` unlocks it" if info.locked else ""
        raise CommandRejected(f"the board does not take {name} {value}{locked}")

    @staticmethod
    def _wrong(info: Info | None, wanted: Mapping[str, Scalar]) -> list[str]:
        """What is known to be otherwise."""
        return [
            name
            for name in wanted
            if (now := getattr(info, name, None)) is not None and not is_set(name, now, wanted[name])
        ]

    async def _command(self, name: str, value: Scalar) -> None:
        if self._refusal(name, value):
            return
        async with self._turn:
            await self._write(self._commands[name](value))
            await asyncio.sleep(self._pace.pause_s)  # OemGateway and emonHub give it a second, too

    def _refusal(self, name: str, value: Scalar) -> str:
        """Why it makes no sense to tell this board so; "" when it does."""
        if name not in self._commands:
            return f"the firmware of this board has no setting {name}"
        if name == "base_id" and not self.info.speaks_letters and isinstance(value, int) and value > HIGHEST_NODE:
            return f"the firmware of this board has node ids up to {HIGHEST_NODE}"
        return ""

    @property
    def _commands(self) -> Mapping[str, Callable[[Scalar], str]]:
        return LETTERS if self.info.speaks_letters else RF12DEMO

    def _learn(self, said: Info) -> None:
        if not said.speaks_letters:
            self.info = replace(said, firmware=said.firmware or self.info.firmware)
            return
        told = {name: getattr(said, name) for name in LETTERS if getattr(said, name) is not None}
        self.info = replace(self.info, speaks_letters=True, **told)

    def _all_is_told(self, _: Said) -> bool:
        return all(getattr(self.info, name) is not None for name in LETTERS)

    # -- packets ----------------------------------------------------------------------------------------------------

    async def send(self, data: bytes, node: int = 0, *, acknowledge: bool = False) -> None:
        """Send a packet to a node (0: to all) and wait until the board says so.

        Raises CommandRejected, LinkDown, NotConfirmed. What happens in the air is not known: nodes sleep.
        """
        if not 0 < len(data) <= MOST_BYTES or not 0 <= node <= HIGHEST_NODE:
            raise CommandRejected(f"a packet has 1 to {MOST_BYTES} bytes and goes to node 0 to {HIGHEST_NODE}")
        command = "".join(f"{byte:02d}," for byte in data) + f"{node or ''}{'a' if acknowledge else 's'}"
        await self.known.wait()  # before it has answered, it may be one that digits lock
        async with self._turn:
            if self.info.speaks_letters:
                raise CommandRejected("the firmware of this board cannot send packets")
            said = await self._expect(command, lambda said: said == SentPacket(len(data)), self._pace.sent_s)
        if said is None:
            raise NotConfirmed(f"the board has not said within {self._pace.sent_s:g} s that it sent the packet")

    async def _expect(self, command: str, expected: Callable[[Said], bool], within_s: float) -> Said | None:
        if self._gone:
            raise LinkDown(self._gone)
        self._expected = expected
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await self._write(command)
            async with asyncio.timeout(within_s):
                return await self._answer
        except TimeoutError:
            return None
        finally:
            self._answer.cancel()
            self._answer = self._expected = None

    async def _write(self, command: str) -> None:
        log.debug("told the board: %s", command.rstrip())
        await self._line.write(command.encode())


def _is_answer(said: Said) -> bool:
    return isinstance(said, Info) or _speaks_letters(said)


def _speaks_letters(said: Said) -> bool:
    return isinstance(said, Info | Chatter) and said.speaks_letters
