"""From a board on a pseudo-terminal through real processes and a real broker into the database, and back."""

from __future__ import annotations

import json
from pathlib import Path

from links.serial_pty import PseudoTerminal
from tests.connectors.rfm2pi.conftest import board_on, running
from tests.e2e.house import until
from tests.support.site import site
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.mqtt import plain_client

NODES = {
    "23": {"name": "hall", "decoder": "emonth2"},
    "20": {"name": "display", "tx": {"datacodes": "b,h", "names": "hour,power", "defaults": "0,0"}},
}
NOISE = b"\xff\x00\xfegarbage\r\n? 33 251 14\r\nOK 23 1 2 3OK 23\r\nOK 23 999 1 (-4)\r\n0 27 1 31 (-45)\r\n"


def frame(pulses: int, humidity: int = 283) -> bytes:
    """What an emonTH sends: temperature, external temperature, humidity (0.1 %), battery, pulse count."""
    data = bytes([169, 0, 0, 0]) + humidity.to_bytes(2, "little") + bytes([31, 0]) + pulses.to_bytes(4, "little")
    return f"OK 23 {' '.join(map(str, data))} (-54)\r\n".encode()


async def test_into_history_and_back_to_the_board(tmp_path: Path, mosquitto: Mosquitto) -> None:
    port = tmp_path / "radio-port"
    given = {
        "RFM2PI_PORT": str(port),
        "SGROUP": "210",  # OemGateway's name
        "RFM2PI_NODES": json.dumps(NODES),
        "SEND_RAW_MESSAGE_TO_DB": "TRUE",
    }
    async with site(tmp_path, mosquitto, "rfm2pi", "radio", **given) as here, plain_client(mosquitto.port) as client:
        async with PseudoTerminal(port) as terminal, board_on(terminal) as board:
            await until(lambda: board.group == 210, "the board is set", here.tell)
            for pulses in range(1, 41):
                terminal.write(frame(pulses))
                if pulses % 10 == 0:
                    terminal.write(NOISE)
            await client.message("radio/messages/hall__pulsecount/value", value=40)

            assert (await here.command(client, "board__frequency", 433))["outcome"] == "applied"
            assert (await here.command(client, "board__frequency", 435))["outcome"] == "rejected"
            assert (await here.command(client, "display__power", -700))["outcome"] == "applied"
            assert board.frequency == 433
            assert board.sent == [(20, b"\x00\x44\xfd")]
        # The line is torn away here; the board comes back under the same path, set as from the factory.
        await here.until_state(client, "degraded", "gone (unplugged?)")
        assert (await here.command(client, "board__group", 5))["outcome"] == "failed"
        async with PseudoTerminal(port) as terminal, board_on(terminal) as board:
            await until(
                lambda: (board.group, board.frequency) == (210, 433), "what was commanded is set again", here.tell
            )
            for pulses in range(41, 61):
                terminal.write(frame(pulses))
            await here.until_stored("hall__pulsecount", list(range(1, 61)))
            await here.until_state(client, "online")
        assert set(here.stored("hall__temperature")) == {16.9}
        assert set(here.stored("hall__rssi")) == {-54}
        raw = [seen.json["raw_message"] for seen in client.on("radio/raw_message_to_db")]
        assert raw.count(frame(1).decode().strip()) == 1
        assert {"cut": "0 27 1 31 (-45)", "because": "its beginning is missing"} in raw, "nonsense is kept raw"


async def test_a_digit_that_is_lost_inside_a_line_shows_as_implausible_where_that_can_be(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    port = tmp_path / "radio-port"
    given = {"RFM2PI_PORT": str(port), "RFM2PI_GROUP": "210", "RFM2PI_NODES": json.dumps(NODES)}
    async with site(tmp_path, mosquitto, "rfm2pi", "radio", **given) as here, plain_client(mosquitto.port) as client:
        async with PseudoTerminal(port) as terminal, board_on(terminal) as board:
            await until(lambda: board.group == 210, "the board is set", here.tell)
            terminal.write(frame(228))
            terminal.write(frame(228).replace(b" 228 ", b" 28 "))
            terminal.write(frame(229, humidity=1200))
            await here.until_stored("hall__pulsecount", [228, 28, 229])
        readings = {seen.json["sequence"]: seen.json for seen in client.on("radio/values")}  # some come again
        told = [reading for reading in readings.values() if "hall__humidity" in reading["values"]]
        assert [reading.get("quality", {}) for reading in told] == [
            {},
            {"hall__pulsecount": "implausible"},
            {"hall__humidity": "implausible"},
        ]


async def test_described_later_decoded_from_the_raw_messages(tmp_path: Path) -> None:
    """A node that nobody described was recorded raw; its description gives the values it had all the time."""
    async with running(tmp_path / "radio") as run:
        run.terminal.write(frame(7))
        await run.link.until(lambda link: "23__1" in link.values)
        recorded = [raw for raw in run.link.raw if isinstance(raw, str) and raw.startswith("OK 23")]
    async with running(tmp_path / "radio", RFM2PI_NODES=NODES) as run:
        [reading] = run.connector.decode(recorded[0])
        assert reading.values["hall"]["pulsecount"] == 7
