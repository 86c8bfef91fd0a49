"""Who may ask when the API is in a container; without one: test_websocket.py and test_settings.py."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from api.guard import Guard, gateway_of
from api.settings import Settings
from wattbus.errors import ConfigError
from wattbus.settings import load

GATEWAY = "172.30.48.1"
# As a container of Docker 26 with one network that has a way out and one that has none shows it.
TWO_NETWORKS = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t01301EAC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t002F1EAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t00301EAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
IN_A_CONTAINER = load(Settings, {"API_HOST": "0.0.0.0", "API_BEHIND_GATEWAY": "TRUE"})


async def status_for(guard: Guard, client: str | None, host: bytes = b"localhost:8080") -> int:
    """The status that somebody at this address gets."""
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "GET", "path": "/", "headers": [(b"host", host)],
        "client": (client, 50000) if client else None,
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await guard(scope, receive, send)
    return int(sent[0]["status"])


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    file = tmp_path / "route"
    file.write_text(TWO_NETWORKS)
    return file


def test_the_gateway_is_the_containers_machine(routes: Path) -> None:
    assert gateway_of(IN_A_CONTAINER, routes) == GATEWAY


def test_it_does_not_matter_elsewhere() -> None:
    assert gateway_of(load(Settings, {}), Path("/nowhere")) == ""


def test_a_container_without_a_gateway_is_refused(routes: Path) -> None:
    routes.write_text("".join(line for line in TWO_NETWORKS.splitlines(True) if "01301EAC" not in line))
    with pytest.raises(ConfigError, match="API_BEHIND_GATEWAY: there is no gateway"):
        gateway_of(IN_A_CONTAINER, routes)


def test_the_real_table_can_be_read() -> None:
    """Of this machine, which may be without a gateway."""
    try:
        ipaddress.ip_address(gateway_of(IN_A_CONTAINER))
    except ConfigError as fault:
        assert "there is no gateway" in str(fault)


@pytest.mark.parametrize("client", [GATEWAY, "127.0.0.1", "::1"])
async def test_this_machine_may_ask(client: str) -> None:
    assert await status_for(Guard(PlainTextResponse("yes"), (), GATEWAY), client) == 200


@pytest.mark.parametrize("client", ["172.30.48.3", "192.168.1.7", "2001:db8::7", None])
async def test_others_may_not_though_they_name_it(client: str | None) -> None:
    assert await status_for(Guard(PlainTextResponse("yes"), (), GATEWAY), client) == 403


async def test_the_gateway_has_to_name_it_too() -> None:
    assert await status_for(Guard(PlainTextResponse("yes"), (), GATEWAY), GATEWAY, b"wattbus.example") == 403
