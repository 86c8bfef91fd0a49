"""Where simulated devices play: a pseudo-terminal and TCP at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from links.serial_port import SerialPort
from links.serial_stage import MOST_UNSENT_BYTES, Stage, stage
from tests.support.ports import free_port
from wattbus.testing.link import WITHIN_S


async def connected(port: int, scene: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(WITHIN_S):
        while not scene._clients:
            await asyncio.sleep(0.005)
    return reader, writer


async def test_what_is_said_and_heard_over_both(tmp_path: Path) -> None:
    port, heard, where = free_port(), bytearray(), []
    named = SerialPort(str(tmp_path / "board"))
    async with stage(named, heard.extend, port=port, started=lambda *place: where.append(place)) as scene:
        assert where == [(named.url, 0), ("127.0.0.1", port)]
        reader, writer = await connected(port, scene)
        with Path(named.url).open("r+b", buffering=0) as device:
            scene.say(b"hello\n")
            assert await reader.readline() == b"hello\n"
            assert device.read(6) == b"hello\n"
            device.write(b"a")
            writer.write(b"b")
            async with asyncio.timeout(WITHIN_S):
                while len(heard) < 2:
                    await asyncio.sleep(0.005)
        assert sorted(heard) == sorted(b"ab")
    assert not Path(named.url).is_symlink()


async def test_the_end_closes_connections_and_leaves_no_task() -> None:
    port = free_port()
    before = asyncio.all_tasks()
    async with stage(SerialPort("/dev/ttyAMA0"), bytearray().extend, port=port) as scene:
        reader, writer = await connected(port, scene)
    assert asyncio.all_tasks() == before
    async with asyncio.timeout(WITHIN_S):
        assert await reader.read() == b""
    writer.close()


async def test_who_does_not_read_is_left() -> None:
    port = free_port()
    async with stage(SerialPort("/dev/ttyAMA0"), bytearray().extend, port=port) as scene:
        await connected(port, scene)
        async with asyncio.timeout(WITHIN_S):
            while scene._clients:
                scene.say(bytes(MOST_UNSENT_BYTES))
                await asyncio.sleep(0)
