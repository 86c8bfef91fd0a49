"""Settings: only this machine, until there is a sign-in; and the example says all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import api.settings
from api.server import listen
from api.settings import Settings
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_this_machine_itself(host: str) -> None:
    assert load(Settings, {"API_HOST": host}).api_host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "api.example", "", "127.0.0.1.example", "localhost."])
def test_other_addresses_are_refused_with_the_reason(host: str) -> None:
    with pytest.raises(ConfigError, match=r"API_HOST: .*no sign-in yet.*127.0.0.1"):
        load(Settings, {"API_HOST": host})


def test_a_container_may_listen_everywhere_behind_its_gateway() -> None:
    container = load(Settings, {"API_HOST": "0.0.0.0", "API_BEHIND_GATEWAY": "TRUE"})
    assert container.api_host == "0.0.0.0"


def test_a_port_that_is_taken_is_named() -> None:
    taken = listen("127.0.0.1", 0)
    try:
        with pytest.raises(ConfigError, match=r"API_PORT: cannot listen on 127.0.0.1:"):
            listen("127.0.0.1", taken.getsockname()[1])
    finally:
        taken.close()


def test_one_database_is_shared_with_history_and_raw_db() -> None:
    default = load(Settings, {"DATA_DIRECTORY": "/srv/data"})
    assert (default.url, default.raw_url) == ("sqlite:////srv/data/history.db", "sqlite:////srv/data/raw.db")
    shared = load(Settings, {"DATABASE_URL": "sqlite:////srv/all.db"})
    assert (shared.url, shared.raw_url) == ("sqlite:////srv/all.db", "sqlite:////srv/all.db")


def test_the_example_is_complete_and_says_the_defaults() -> None:
    example = Path(api.settings.__file__).with_name(".env.example")
    lines = [line.removeprefix("#") for line in example.read_text(encoding="utf-8").splitlines()]
    named = {line.partition("=")[0] for line in lines if line.partition("=")[0].isupper()}
    assert named == {name.upper() for name in Settings.model_fields}
    assert load(Settings, read_env_file(example)) == load(Settings, {})
