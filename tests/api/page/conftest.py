"""One building and one browser for all tests here: starting them takes longer than most of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.api.page.browsing import CHROMIUM, Person, browser_running, person
from tests.api.page.building import Building


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("building")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page was not tested")
    async with browser_running() as browser:
        yield browser


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def building(browser: Browser, folder: Path) -> AsyncIterator[Building]:
    async with Building(folder).running() as building:
        assert isinstance(building, Building)
        await building.ids()
        yield building


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def ids(building: Building) -> dict[str, int]:
    return await building.ids()


@pytest_asyncio.fixture(loop_scope="package")
async def someone(browser: Browser, building: Building) -> AsyncIterator[Person]:
    async with person(browser, building.address) as someone:
        yield someone
