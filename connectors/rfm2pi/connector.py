"""The radio board connector: one serial line, the nodes behind it, and what is sent to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from connectors.rfm2pi import codec, datapoints
from connectors.rfm2pi.board import Board, NotConfirmed, Pace
from connectors.rfm2pi.hearing import Hearing
from connectors.rfm2pi.nodes import BOARD
from connectors.rfm2pi.presence import Presence
from connectors.rfm2pi.repeater import Repeater
from connectors.rfm2pi.sending import OutgoingPacket
from connectors.rfm2pi.settings import Settings
from links.serial_line import Line, open_line
from links.serial_silence import SilenceWatch
from links.serial_splitter import Lines
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected, ConfigError, LinkDown
from wattbus.jsontext import JsonValue

log = logging.getLogger(__name__)

LONGEST_LINE = 512  # a packet of 66 bytes is 280 characters
COUNTS_EVERY_S = 60.0
PROBE_EVERY_S = 60.0
SET_UP_AGAIN_AFTER_S = 5.0


def create(settings: Settings) -> RadioBoard:
    """The connector for these settings. Raises ConfigError; contacts nothing."""
    if settings.rfm2pi_plain and (wrong := settings.for_a_board()):
        raise ConfigError(f"RFM2PI_PLAIN: there is no radio board, so {', '.join(wrong)} cannot do anything: remove it")
    for remark in settings.replaced():
        log.warning("%s", remark)
    return RadioBoard(settings)


class RadioBoard:
    """Frames of nodes, the board's settings, packets to nodes."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK, pace: Pace = Pace()) -> None:  # noqa: B008
        self._settings = settings
        self._clock = clock
        self._pace = pace
        self._nodes = settings.nodes
        self._outgoing = OutgoingPacket(self._nodes.described.values())
        self._silence = SilenceWatch(settings.rfm2pi_silent_seconds or None, clock, what=settings.port.url)
        self._presence = Presence(self._nodes, settings.rfm2pi_node_silent_seconds, clock)
        self._hearing = Hearing(settings, self._nodes, self._presence, self._silence)
        self._wanted: dict[str, Scalar] = {
            name: value
            for name in ("frequency", "group", "base_id", "quiet")
            if (value := settings.chosen(f"rfm2pi_{name}")) is not None
        }
        self._board: Board | None = None
        self._told_mute = False

    def datapoints(self) -> Iterable[Datapoint]:
        """The values of described nodes, the settings of the board, what can be sent."""
        described = list(self._nodes.described.values())
        yield from datapoints.of_described(described)
        if not self._settings.rfm2pi_plain:
            yield from datapoints.of_board()
            yield from datapoints.sendable(described)

    async def run(self, link: Link) -> None:
        """Listen to the board, keep it set up. Raises LinkDown when the line breaks or nothing is heard."""
        async with open_line(self._settings.port) as line:
            board = None if self._settings.rfm2pi_plain else Board(line, self._pace)
            self._board = board
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen(line, board, link), name="rfm2pi lines")
                    tasks.create_task(self._presence.watch(link), name="rfm2pi nodes")
                    tasks.create_task(self._guard(line), name="rfm2pi silence")
                    if board is not None:
                        self._look_after(board, link, tasks)
            finally:
                self._board = None
                if board is not None:
                    board.gone(f"{line.name} is closed")

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """The values of one node, or how the board is set."""
        return codec.decode(raw, self._nodes, plain=self._settings.rfm2pi_plain)

    async def write(self, key: str, value: Scalar) -> None:
        """Set the board, or send a packet; returns when the board has said that it did."""
        board = self._board
        if board is None:
            raise LinkDown("the radio board is not connected")
        try:
            if key.startswith(f"{BOARD}__"):
                await self._change(board, key.removeprefix(f"{BOARD}__"), value)
            else:
                packet = self._outgoing.packet(key, value)
                await board.send(packet.data, packet.node)
                self._outgoing.sent(packet)
        except NotConfirmed as error:
            raise LinkDown(str(error)) from error

    async def _change(self, board: Board, name: str, value: Scalar) -> None:
        if isinstance(value, float):  # JSON's 33.0 is 33 for people; the board would take `33.0g` for group 0
            if not value.is_integer():
                raise CommandRejected(f"{name} is a whole number, not {value:g}")
            value = int(value)
        await board.change(name, value)
        self._wanted[name] = value  # also after the next opening, until this process ends

    async def _listen(self, line: Line, board: Board | None, link: Link) -> None:
        lines = Lines(LONGEST_LINE, midway=board is None)
        self._hearing.line_is_open()
        while True:
            data = await line.read()
            now_ms = self._clock.now_ms()
            too_long, dropped = lines.dropped_lines, lines.dropped_bytes
            for line_heard in lines.feed(data):
                said = self._hearing.take(line_heard, now_ms, link)
                if board is not None and said is not None:
                    board.heard(said)
            self._hearing.dropped(lines.dropped_lines - too_long, lines.dropped_bytes - dropped, link)

    # -- looking after it -------------------------------------------------------------------------------------------

    def _look_after(self, board: Board, link: Link, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._keep_set_up(board, link), name="rfm2pi settings")
        tasks.create_task(self._probe(board), name="rfm2pi probe")
        tasks.create_task(self._tell_counts(board, link), name="rfm2pi counts")
        if self._settings.read_only:
            return
        if self._settings.chosen("rfm2pi_time_seconds"):
            tasks.create_task(self._tell_time(board), name="rfm2pi time")
        if port := self._settings.chosen("rfm2pi_repeater_port"):
            repeater = Repeater(self._settings.rfm2pi_repeater_host, port, board.send)
            tasks.create_task(repeater.run(link), name="rfm2pi repeater")

    async def _keep_set_up(self, board: Board, link: Link) -> None:
        """At each opening, and whenever the board says unasked how it is set: it may have started anew."""
        while True:
            faults = await board.set_up(self._wanted, only_look=self._settings.read_only)
            what = "is set otherwise" if self._settings.read_only else "cannot be set"
            link.unit(BOARD, up=not faults, reason=f"the board {what}: {', '.join(faults)}")
            if not board.answers and not self._told_mute:
                self._told_mute = True
                log.warning("the board does not answer `v`: how it is set cannot be verified")
            self._told_mute = self._told_mute and not board.answers
            board.doubt.clear()
            await board.doubt.wait()
            await self._clock.sleep(SET_UP_AGAIN_AFTER_S)

    async def _probe(self, board: Board) -> None:
        """Ask a board that has nothing to tell whether it lives."""
        while True:
            await self._clock.sleep(PROBE_EVERY_S)
            if not self._hearing.heard_a_node and board.answers:
                await board.ask()

    async def _guard(self, line: Line) -> None:
        await self._silence.opened(line.pulse)
        await self._silence.guard()

    async def _tell_time(self, board: Board) -> None:
        """Send the time of day to all displays (emonGLCD): 0, hour, minute, 0."""
        zone = ZoneInfo(self._settings.rfm2pi_time_zone) if self._settings.rfm2pi_time_zone else None
        told_fault = ""
        while True:
            now = datetime.fromtimestamp(self._clock.now_ms() / 1000, zone)
            try:
                await board.send(bytes([0, now.hour, now.minute, 0]))
                told_fault = ""
            except (NotConfirmed, CommandRejected) as error:
                if str(error) != told_fault:
                    log.warning("the time cannot be sent to displays: %s", error)
                told_fault = str(error)
            await self._clock.sleep(self._settings.chosen("rfm2pi_time_seconds"))

    async def _tell_counts(self, board: Board, link: Link) -> None:
        told: dict[str, int] = {}
        while True:
            await self._clock.sleep(COUNTS_EVERY_S)
            counts = {"bad_frames": self._hearing.bad_frames, "unknown_lines": self._hearing.unknown_lines}
            if counts != told and not self._silence.is_silent and (board.answers or self._hearing.heard_a_node):
                told = counts
                link.emit({"counts": dict(counts)})
