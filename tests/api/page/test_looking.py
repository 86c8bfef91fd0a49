"""Connectors, the list of datapoints, one sensor."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.api.conftest import eventually
from tests.api.page.browsing import Person
from tests.api.page.building import POWER, SETPOINT, TEMPERATURE, Building

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_connectors_are_shown_with_their_state(someone: Person) -> None:
    page = await someone.open("/")
    card = page.locator('[data-connector="room"]')
    await expect(card).to_contain_text("Online")
    await expect(card).to_contain_text(re.compile(r"heartbeat \d+ s ago"))
    await expect(card).to_contain_text("8 datapoints")
    await expect(page.get_by_text("1 of 1 online")).to_be_visible()
    await expect(page.locator('[data-connector="history"]')).to_contain_text("Online")


async def test_a_connector_that_ends_is_offline_and_its_datapoints_say_so(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    page = await someone.open("/")
    card = page.locator('[data-connector="room"]')
    await expect(card).to_contain_text("Online")
    await building.connector.stop()
    try:
        await expect(card).to_contain_text("Offline")
        await expect(card).to_contain_text("stopped")
        await someone.open(f"/view/{ids[TEMPERATURE]}")
        await expect(page.get_by_text("The connector room is offline")).to_be_visible()
    finally:
        await building.connector.start()
    await someone.open("/")
    await expect(card).to_contain_text("Online")


async def test_the_list_shows_live_values_with_usual_units(someone: Person) -> None:
    page = await someone.open("/datapoints")
    row = page.locator(f'[row-id="room/sensor/{TEMPERATURE}"]')
    await expect(row).to_contain_text("°C")
    await expect(row).to_contain_text("Good")
    energy = page.locator('[row-id="room/sensor/read_input_registers__1__16"] [col-id=value]')
    await expect(energy).to_contain_text("Wh")
    before = await energy.inner_text()
    await expect(energy).not_to_have_text(before)  # without a reload


async def test_search_and_filters_leave_what_matches(someone: Person) -> None:
    page = await someone.open("/datapoints")
    rows = page.locator(".ag-center-cols-container [role=row]")
    await expect(rows).to_have_count(8)
    await page.get_by_label("Search").fill("electrical")  # a description
    await expect(rows).to_have_count(2)
    await page.get_by_label("Search").fill(POWER)  # a key
    await expect(rows).to_have_count(1)
    await page.get_by_label("Search").fill("")
    await page.get_by_role("combobox", name="Type").click()
    await page.get_by_role("option", name="Actuators").click()
    await expect(rows).to_have_count(3)
    await someone.open("/datapoints?connector=nobody")
    await expect(page.get_by_text("Nothing matches")).to_be_visible()


async def test_a_sensor_with_its_history_and_another_beside_it(someone: Person, ids: dict[str, int]) -> None:
    page = await someone.open(f"/view/{ids[TEMPERATURE]}")
    await expect(page.get_by_role("heading", name="Room temperature")).to_be_visible()
    await expect(page.locator("[data-role=value]")).to_contain_text("°C")
    await page.get_by_role("button", name="15 min").click()
    await page.get_by_role("combobox", name="Plot beside it").click()
    await page.get_by_role("option", name="Electrical power").click()
    await page.keyboard.press("Escape")
    shown = await eventually(lambda: lines(someone, 2), "two lines")
    assert all(number > 3 for number in shown.values()), shown
    assert await someone.axes("history") == ["°C", "W"]

    async def goes_on() -> bool:
        now = await lines(someone, 2)
        return bool(now) and all(number > shown[name] for name, number in now.items())

    await eventually(goes_on, "newer values in the plot")


async def lines(someone: Person, number: int) -> dict[str, int]:
    """How many points each line of the plot has; nothing while there are not so many lines."""
    found = await someone.series("history")
    return {name: len(series["points"]) for name, series in found.items()} if len(found) == number else {}


async def test_what_is_not_there_is_said_in_plain_words(someone: Person) -> None:
    page = await someone.open("/view/999999")
    await expect(page.get_by_text("There is no datapoint with this number")).to_be_visible()


async def test_without_a_broker_the_page_says_so_and_comes_back(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    page = await someone.open(f"/view/{ids[SETPOINT]}")
    await expect(page.get_by_role("heading", name="Setpoint of the room")).to_be_visible()
    await building.broker.kill()
    try:
        await expect(page.get_by_text("Broker away")).to_be_visible()
        await expect(page.get_by_text("the values are the last ones known")).to_be_visible()
        await page.get_by_role("button", name="Set", exact=True).click()
        await expect(page.get_by_text("There is no connection to the broker.", exact=True)).to_be_visible()
    finally:
        await building.broker.start()
    await expect(page.get_by_text("Broker away")).not_to_be_visible()
    await someone.open("/")
    await expect(page.locator('[data-connector="room"]')).to_contain_text("Online")
