"""Setting values: what is applied changes the device, what is not says why."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.api.page.browsing import Person
from tests.api.page.building import MISSING, SETPOINT, SWITCH, Building

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_value_is_applied_and_the_device_has_it(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    page = await someone.open(f"/view/{ids[SETPOINT]}")
    await page.get_by_label("New value").fill("25.5")
    await page.get_by_role("button", name="Set", exact=True).click()
    outcome = page.locator("[data-role=outcome]")
    await expect(outcome).to_contain_text("Applied")
    await expect(outcome).to_contain_text("25.5")
    assert await building.device_setpoint() == 25.5
    await expect(page.locator("[data-role=value]")).to_contain_text("25.5")


async def test_a_value_that_the_connector_refuses_says_why(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    before = await building.device_setpoint()
    page = await someone.open(f"/view/{ids[SETPOINT]}")
    await page.get_by_label("New value").fill("99")
    await page.get_by_role("button", name="Set", exact=True).click()
    outcome = page.locator("[data-role=outcome]")
    await expect(outcome).to_contain_text("Rejected")
    await expect(outcome).to_contain_text("30")  # the limit
    assert await building.device_setpoint() == before


async def test_what_the_device_refuses_is_said_in_its_words(someone: Person, ids: dict[str, int]) -> None:
    page = await someone.open(f"/view/{ids[MISSING]}")
    await page.get_by_label("New value").fill("20")
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(page.locator("[data-role=outcome]")).to_contain_text("illegal data address")


async def test_nothing_is_sent_while_nothing_is_typed(someone: Person, ids: dict[str, int]) -> None:
    page = await someone.open(f"/view/{ids[MISSING]}")
    await page.get_by_label("New value").fill("")
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(page.get_by_text("Type a value first")).to_be_visible()


async def test_a_switch(someone: Person, ids: dict[str, int]) -> None:
    page = await someone.open(f"/view/{ids[SWITCH]}")
    switch = page.get_by_role("switch", name="New value")
    await expect(switch).to_have_attribute("aria-checked", "true")
    await switch.click()
    await page.get_by_role("button", name="Set", exact=True).click()
    outcome = page.locator("[data-role=outcome]")
    await expect(outcome).to_contain_text("Applied")
    await expect(outcome).to_contain_text("off")
    await switch.click()
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(outcome).to_contain_text("on,")


async def test_a_name_and_a_limit_are_kept(someone: Person, ids: dict[str, int]) -> None:
    page = await someone.open(f"/view/{ids[MISSING]}")
    await expect(page.locator("[data-role=history] canvas").first).to_be_visible()  # from now on nothing moves
    await page.get_by_text("Name, unit and limits").click()
    await page.get_by_label("Name", exact=True).fill("Spare")
    await page.get_by_label("Lowest value").fill("5")
    await page.get_by_label("Highest value").fill("3")
    save = page.locator("[data-role=edit]").get_by_role("button", name="Save")
    await save.press("Enter")  # by keyboard: no layout can move beneath it
    await expect(page.get_by_text("min_value must not be larger than max_value")).to_be_visible()
    await page.get_by_label("Highest value").fill("50")
    await save.press("Enter")  # by keyboard: no layout can move beneath it
    await expect(page.get_by_role("heading", name="Spare")).to_be_visible()
    await someone.open(f"/view/{ids[MISSING]}")
    await expect(page.get_by_text("Range 5 … 50")).to_be_visible()
