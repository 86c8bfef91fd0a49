"""The dialogue with a stick on a pseudo-terminal: how it is set, checked, helped, and given up."""

from __future__ import annotations

import asyncio

import pytest

from connectors.im871a import connector as connector_module
from connectors.im871a import hci, management
from connectors.im871a.hci import HciFrame
from connectors.im871a.simulated_air import EXAMPLE_METER, ExampleMeter
from connectors.im871a.simulated_stick import SimulatedStick
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import METERS, connector_for, listening, stick_on, until_set
from wattbus.testing.link import RecordingLink, entered
from wattbus.testing.waiting import PATIENCE_S


def set_by_host(stick: SimulatedStick) -> list[dict[str, int]]:
    asked = [question for question in stick.asked if question.message == hci.SET_CONFIGURATION]
    return [management.configuration(question.payload[1:]) for question in asked]


async def test_only_what_is_wrong_is_set_and_not_into_the_flash() -> None:
    async with listening() as scene:
        assert set_by_host(scene.stick) == [{"link_mode": 10, "rssi": 1}]
        [request] = [question for question in scene.stick.asked if question.message == hci.SET_CONFIGURATION]
        assert request.payload[0] == 0


async def test_a_stick_that_is_set_already_is_left_alone() -> None:
    right = management.to_hear_all("T1")
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, in_flash=right) as stick,
        entered(connector_for(terminal.path, IM871A_LINK_MODE="T1", IM871A_METERS=METERS)) as running,
    ):
        await until_set(stick, "T1")
        stick.receives(ExampleMeter().telegram())
        await running.link.until(lambda link: bool(link.values))
        assert set_by_host(stick) == []


async def test_a_stick_that_was_a_meter_or_asleep_hears_again() -> None:
    in_flash = {**management.to_hear_all("T1"), "device_mode": 1, "power_saving": 1}
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, in_flash=in_flash) as stick,
        entered(connector_for(terminal.path)),
    ):
        await until_set(stick)
        assert set_by_host(stick) == [{"device_mode": 0, "link_mode": 10, "power_saving": 0}]


async def test_the_firmware_cannot_do_what_is_asked() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, firmware=0x13),
        entered(connector_for(terminal.path)) as running,
    ):
        assert "set IM871A_LINK_MODE to T1 or C1A" in await running.ended()


async def test_its_sister_hears_other_meters() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, module=management.IM170A) as stick,
        entered(connector_for(terminal.path)) as running,
    ):
        assert "an iM871A is needed" in await running.ended()
        assert set_by_host(stick) == []


async def test_a_stick_that_keeps_its_mode() -> None:
    async with (
        PseudoTerminal() as terminal,
        stick_on(terminal, faults={"stubborn"}),
        entered(connector_for(terminal.path, IM871A_LINK_MODE="C1A")) as running,
    ):
        ended = await running.ended()
        assert "does not take its configuration: link_mode is 3 instead of 6" in ended
        assert "rssi" not in ended  # every frame says itself whether it has one


async def test_nothing_at_the_port() -> None:
    async with PseudoTerminal() as terminal, entered(connector_for(terminal.path)) as running:
        assert "no answer from the stick (nothing came)" in await running.ended()


async def test_another_device_at_the_port_that_talks_all_the_time() -> None:
    """A smart meter; and what its line looks like at the wrong speed, with something like telegrams in it."""
    like_a_telegram = b"\xa5\x02\x03\x0b" + bytes.fromhex("442d2c01000020300278 2f")
    async with PseudoTerminal() as terminal, entered(connector_for(terminal.path)) as running:

        async def talk() -> None:
            while True:
                terminal.write(b"1-0:1.8.1(000581.161*kWh)\r\n" + bytes.fromhex("a581fe0055a50102ff") + like_a_telegram)
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(talk())
        assert "bytes came, and no answer): is it an iM871A, and at this baud rate?" in await running.ended()
        talking.cancel()
        assert running.link.raw == []


async def test_pulled_out() -> None:
    async with listening() as scene:
        scene.terminal.close()
        assert "gone (unplugged?)" in await scene.running.ended()


async def test_a_stick_that_starts_anew_has_forgotten_how_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector_module, "CHECK_EVERY_S", 0.1)
    async with listening() as scene:
        scene.stick.starts()
        scene.stick.asked.clear()
        ended = await scene.running.ended()
        assert "has forgotten its configuration (did it start anew?): link_mode is 3 instead of 10" in ended
        async with entered(scene.connector):
            await until_set(scene.stick)


async def test_a_stick_that_does_not_answer_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector_module, "CHECK_EVERY_S", 0.1)
    async with listening() as scene:
        scene.stick.faults.add("mute")
        assert "no answer from the stick" in await scene.running.ended()


async def test_a_silent_stick_is_opened_again_then_reset_then_reported() -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal, faults={"silence"}) as stick:
        connector = connector_for(terminal.path, IM871A_SILENT_SECONDS="0.2", IM871A_METERS=METERS)
        link = RecordingLink(connector)
        for part, resets in (
            ("is silent for 0.2 s; it is opened again", 0),
            ("still silent; it is opened again and reset", 0),
            ("opening it again and resetting it did not help", 1),
        ):
            async with entered(connector, link) as running:
                assert part in await running.ended()
            assert link.is_connected == (part == "is silent for 0.2 s; it is opened again")
            link.is_connected = False
            assert stick.resets == resets
            stick.faults = {"silence"}
        stick.faults = set()
        stick.asked.clear()
        async with entered(connector, link):
            await until_set(stick)
            assert not link.is_connected, "it answers, as it did before, and that it hears is not known"
            stick.receives(ExampleMeter().telegram())
            await link.until(lambda link: f"{EXAMPLE_METER}__power_w" in link.values)
            assert link.is_connected


async def test_a_telegram_of_an_unconfigured_meter_shows_that_it_hears() -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal, faults={"silence"}) as stick:
        connector = connector_for(terminal.path, IM871A_SILENT_SECONDS="0.2", IM871A_UNKNOWN_METERS="FALSE")
        link = RecordingLink(connector)
        async with entered(connector, link) as running:
            assert "is silent" in await running.ended()
        link.is_connected, stick.faults = False, set()
        stick.asked.clear()
        async with entered(connector, link):
            await until_set(stick)
            stick.receives(ExampleMeter().telegram())
            await link.until(lambda link: link.is_connected)
            assert link.raw == []


async def test_an_answer_to_another_question_is_none() -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick:
        answers = HciFrame(hci.DEVICE_MANAGEMENT, hci.RESET + 1, b"\0\0").encode(crc=True)
        stick.say = lambda data: terminal.write(answers + data)
        async with entered(connector_for(terminal.path)):
            await until_set(stick)


async def test_told_to_end_in_the_middle_of_a_question() -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal, faults={"mute"}) as stick:
        async with entered(connector_for(terminal.path)) as running:
            async with asyncio.timeout(PATIENCE_S):
                while not stick.asked:
                    await asyncio.sleep(0.01)
        assert running.task.cancelled()
