"""Setpoint and schedule from the page to the room."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.api.conftest import eventually
from tests.api.page.browsing import PHONE, Person, person
from tests.api.page.building import SETPOINT, Building
from wattbus.testing.mqtt import plain_client

pytestmark = pytest.mark.asyncio(loop_scope="package")
ALWAYS = {"from_timestamp": None, "to_timestamp": None}
COMFORT = {"preferred_value": 22, "min_value": 17, "max_value": 25}
TOPIC = f"room/messages/{SETPOINT}-set"


async def pair_up(someone: Person, ids: dict[str, int]) -> Page:
    """Choose the sensor, unless that was done."""
    page = await someone.open(f"/view/{ids[SETPOINT]}")
    sensor = page.get_by_role("combobox", name="Sensor")
    await expect(page.locator("[data-role=pair]")).to_contain_text(PAIR_IS_KNOWN)
    if await page.get_by_text("Choose the sensor").is_visible():
        await sensor.click()
        await page.get_by_role("option", name="Room temperature").click()
        await expect(page.get_by_text("Open the sensor")).to_be_visible()
        await expect(page.get_by_text("Choose the sensor")).not_to_be_visible()
    return page


async def wanted(building: Building, setpoint: list[dict[str, Any]], schedule: list[dict[str, Any]]) -> None:
    """What the bus says before a person opens the page."""
    async with plain_client(building.broker.port, "nothing") as client:
        for kind, items in (("setpoint", setpoint), ("schedule", schedule)):
            message = {kind: [{**ALWAYS, **item} for item in items], "timestamp": _now_ms()}
            await client.publish(f"{TOPIC}/{kind}", message, retain=True)


async def room_is(page: Page, low: float, high: float) -> None:
    """Wait until the temperature beside the sensor's name is in this range."""
    await page.wait_for_function(
        """([low, high]) => {
          const text = document.querySelector("[data-role=pair]").innerText.match(/now ([\\d.]+)/);
          return text && Number(text[1]) >= low && Number(text[1]) <= high;
        }""",
        arg=[low, high],
    )


async def last(building: Building, kind: str) -> Any:
    """What the broker retains, read by a plain MQTT client."""
    async with plain_client(building.broker.port, f"{TOPIC}/{kind}") as client:
        return await client.message(f"{TOPIC}/{kind}")


async def test_a_setpoint_with_tolerance_moves_the_room(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    await wanted(building, [], [])
    page = await pair_up(someone, ids)
    card = page.locator("[data-role=setpoint]")
    await card.get_by_role("button", name="Add setpoint").click()
    await card.get_by_label("Preferred", exact=True).fill("19")
    await card.get_by_role("switch", name="With tolerance").click()
    await card.get_by_label("Lowest acceptable").fill("20")
    await card.get_by_role("button", name="Save setpoint").click()
    await expect(card.get_by_text("preferred_value is smaller than min_value")).to_be_visible()

    await card.get_by_label("Lowest acceptable").fill("18")
    await card.get_by_label("Highest acceptable").fill("20.5")
    await card.get_by_role("button", name="Save setpoint").click()
    await expect(page.get_by_text("The setpoint is saved")).to_be_visible()

    message = await last(building, "setpoint")
    [item] = message["setpoint"]
    assert (item["preferred_value"], item["min_value"], item["max_value"]) == (19, 18, 20.5)
    assert item["from_timestamp"] is None and item["to_timestamp"] is None
    await expect(page.locator("[data-role=coming]")).to_contain_text("setpoint: no schedule applies")
    await room_is(page, 18.7, 19.3)
    assert await building.device_setpoint() == 19
    series = await someone.series("plan")
    assert series["setpoint"]["bands"] == 1
    assert len(series["sensor"]["points"]) > 3


async def test_the_setpoint_is_dragged_in_the_chart(someone: Person, building: Building, ids: dict[str, int]) -> None:
    await wanted(building, [{"preferred_value": 19, "min_value": 18, "max_value": 20.5}], [])
    page = await pair_up(someone, ids)
    await expect(page.get_by_label("Preferred", exact=True)).to_have_value("19")
    await page.locator("[data-role=plan] .wb-plot").scroll_into_view_if_needed()
    [handle] = await eventually(someone.handles, "a handle")
    await page.mouse.move(handle["x"], handle["y"])
    await page.mouse.down()
    await page.mouse.move(handle["x"], handle["y"] - 30, steps=5)
    await page.mouse.up()
    await expect(page.get_by_label("Preferred", exact=True)).not_to_have_value("19")
    dragged = float(await page.get_by_label("Preferred", exact=True).input_value())
    assert 19 < dragged < 23
    await page.get_by_role("button", name="Save setpoint").click()
    await expect(page.get_by_text("The setpoint is saved")).to_be_visible()
    [item] = (await last(building, "setpoint"))["setpoint"]
    assert item["preferred_value"] == dragged
    assert item["max_value"] - item["preferred_value"] == pytest.approx(1.5)  # the tolerance moved along


async def test_a_schedule_from_rows_rules_within_the_tolerance(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    await wanted(building, [COMFORT], [])
    page = await pair_up(someone, ids)
    schedule = page.locator("[data-role=schedule]")
    await schedule.get_by_role("button", name="Add step").click()
    await schedule.get_by_label("Value").fill("23.5")
    await schedule.get_by_label("To", exact=True).fill("2020-01-01T10:00")
    await schedule.get_by_role("button", name="Save schedule").click()
    await expect(schedule.get_by_text("to_timestamp must be larger")).to_be_visible()

    await schedule.get_by_label("From", exact=True).fill("")
    await schedule.get_by_label("To", exact=True).fill(_local(time.time() + 2 * 3600))
    await schedule.get_by_role("button", name="Save schedule").click()
    await expect(page.get_by_text("The schedule is saved")).to_be_visible()
    [step] = (await last(building, "schedule"))["schedule"]
    assert step["value"] == 23.5 and step["from_timestamp"] is None
    assert abs(step["to_timestamp"] / 1000 - time.time() - 2 * 3600) < 120
    await expect(page.locator("[data-role=coming]")).to_contain_text("is within 17…25")
    await room_is(page, 23.2, 23.8)
    assert (await someone.series("plan"))["schedule"]["points"]


async def test_steps_are_drawn_and_deleted_on_a_phone(browser: Any, building: Building, ids: dict[str, int]) -> None:
    await wanted(building, [COMFORT], [{"value": 23}])
    async with person(browser, building.address, PHONE) as someone:
        page = await pair_up(someone, ids)
        schedule = page.locator("[data-role=schedule]")
        await expect(schedule.get_by_text("Step 1")).to_be_visible()
        await page.get_by_role("button", name="Draw steps").tap()
        plot = page.locator("[data-role=plan] .wb-plot")
        await plot.scroll_into_view_if_needed()
        box = await plot.bounding_box()
        assert box is not None
        await page.touchscreen.tap(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.3)
        await expect(schedule.get_by_text("Step 2")).to_be_visible()
        await page.get_by_role("button", name="Done").tap()
        await schedule.get_by_role("button", name="Save schedule").tap()
        await expect(page.get_by_text("The schedule is saved")).to_be_visible()
        steps = (await last(building, "schedule"))["schedule"]
        assert len(steps) == 2 and steps[1]["to_timestamp"] - steps[1]["from_timestamp"] == 3_600_000
        await schedule.get_by_role("button", name="Delete step 2").tap()
        await schedule.get_by_role("button", name="Save schedule").tap()
        await expect(schedule.get_by_role("button", name="Save schedule")).to_be_disabled()
        assert len((await last(building, "schedule"))["schedule"]) == 1


async def test_what_somebody_else_sets_appears_unless_one_is_editing(
    someone: Person, building: Building, ids: dict[str, int]
) -> None:
    await wanted(building, [COMFORT], [])
    page = await pair_up(someone, ids)
    preferred = page.get_by_label("Preferred", exact=True)
    await expect(preferred).to_have_value("22")
    await wanted(building, [{**COMFORT, "preferred_value": 21.5}], [])
    await expect(preferred).to_have_value("21.5")
    await preferred.fill("20")
    await wanted(building, [COMFORT], [])
    await expect(page.get_by_text("Somebody else has changed this meanwhile")).to_be_visible()
    await expect(preferred).to_have_value("20")
    await page.get_by_role("button", name="Discard").click()
    await expect(preferred).to_have_value("22")


async def test_without_a_controller_the_page_says_so(someone: Person, building: Building, ids: dict[str, int]) -> None:
    page = await pair_up(someone, ids)
    await expect(page.get_by_text("No controller is running")).not_to_be_visible()
    await building.controller.stop()
    try:
        await expect(page.get_by_text("No controller is running")).to_be_visible()
    finally:
        await building.controller.start()
    await expect(page.get_by_text("No controller is running")).not_to_be_visible()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _local(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M", time.localtime(moment))


PAIR_IS_KNOWN = re.compile("Choose the sensor|Open the sensor")
