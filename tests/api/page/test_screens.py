"""Phone and desktop, light and dark; the pictures of the documentation are taken here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from tests.api.page.browsing import DESKTOP, PHONE, Person, person, picture
from tests.api.page.building import POWER, SETPOINT, TEMPERATURE, Building

pytestmark = pytest.mark.asyncio(loop_scope="package")
MINUTE_MS = 60_000
PAGES = ("/", "/datapoints", "/control", "/view/{setpoint}", "/view/{temperature}")


def _paths(ids: dict[str, int]) -> list[str]:
    return [path.format(setpoint=ids[SETPOINT], temperature=ids[TEMPERATURE]) for path in PAGES]


@pytest.mark.parametrize("shade", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_page_fits_and_can_be_read(
    browser: Browser, building: Building, ids: dict[str, int], size: tuple[int, int], shade: str
) -> None:
    async with person(browser, building.address, size, shade) as someone:
        for path in _paths(ids):
            page = await someone.open(path)
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert await someone.overflow() <= 0, path
            assert (await page.evaluate("document.body.classList.contains('body--dark')")) == (shade == "dark")
            contrast = await page.evaluate(CONTRAST)
            assert contrast >= 4.5, (path, await page.evaluate("window.lowestContrast"))  # WCAG 2.2, 1.4.3


async def test_light_or_dark_is_chosen_and_remembered(someone: Person) -> None:
    page = await someone.open("/")
    is_dark = "document.body.classList.contains('body--dark')"
    await page.get_by_role("button", name="Light or dark").click()
    await page.get_by_role("menuitem", name="Dark").click()
    await page.wait_for_function(is_dark)
    await someone.open("/datapoints")
    await page.wait_for_function(is_dark)


async def test_pages_are_reached_by_keyboard(someone: Person) -> None:
    page = await someone.open("/")
    await expect(page.get_by_role("heading", name="Connectors")).to_be_visible()
    for _ in range(8):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.innerText") == "Datapoints":
            break
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Datapoints")).to_be_visible()


async def test_pictures(browser: Browser, building: Building, ids: dict[str, int], tmp_path: Path) -> None:
    await _plan_a_day(building, ids)
    async with person(browser, building.address) as someone:
        page = await someone.open("/")
        await expect(page.get_by_text("Set to")).to_be_visible()
        await picture(page, "overview-desktop-light", tmp_path)
        await someone.open(f"/view/{ids[SETPOINT]}")
        await page.get_by_role("button", name="1 h", exact=True).first.click()
        await _shows_the_plan(page)
        await page.evaluate("document.activeElement.blur()")
        await picture(page, "setpoint-desktop-light", tmp_path)
    async with person(browser, building.address, shade="dark") as someone:
        page = await someone.open("/datapoints")
        await expect(page.locator(f'[row-id="room/sensor/{TEMPERATURE}"]')).to_contain_text("°C")
        await picture(page, "datapoints-desktop-dark", tmp_path)
        await someone.open(f"/view/{ids[TEMPERATURE]}")
        await page.get_by_role("combobox", name="Plot beside it").click()
        await page.get_by_role("option", name="Electrical power").click()
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="15 min").click()
        await page.evaluate("document.activeElement.blur()")
        await page.wait_for_timeout(1500)  # the chart is drawn
        await picture(page, "history-desktop-dark", tmp_path)
    async with person(browser, building.address, PHONE, "dark") as someone:
        page = await someone.open(f"/view/{ids[SETPOINT]}")
        await _shows_the_plan(page)
        await page.locator("[data-role=plan]").evaluate(TO_THE_TOP)
        await picture(page, "setpoint-phone-dark", tmp_path)
    async with person(browser, building.address, PHONE) as someone:
        page = await someone.open("/datapoints")
        await expect(page.locator(f'[row-id="room/sensor/{POWER}"]')).to_contain_text("W")
        await picture(page, "datapoints-phone-light", tmp_path)


async def _shows_the_plan(page: Page) -> None:
    await expect(page.locator("[data-role=coming]")).to_contain_text("20.5")
    await page.wait_for_timeout(1500)  # the chart is drawn


async def _plan_a_day(building: Building, ids: dict[str, int]) -> None:
    """A setpoint with tolerance and some steps, through REST; and the pair."""
    now_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
    steps = [_step(now_ms, *step) for step in ((6, 14, 23), (30, 18, 20.5), (180, 360, 19.5), (900, 240, 23))]
    setpoint = {"preferred_value": 22, "min_value": 19, "max_value": 24, "from_timestamp": None, "to_timestamp": None}
    path = f"/datapoint/{ids[SETPOINT]}"
    async with aiohttp.ClientSession(building.address) as session:
        pair = {"sensor": ids[TEMPERATURE], "actuator": ids[SETPOINT]}
        await session.post("/controlled_datapoint/", json=pair)  # it is there already, unless this test runs alone
        for kind, items in (("setpoint", [setpoint]), ("schedule", steps)):
            async with session.post(f"{path}/{kind}/", json={kind: items, "timestamp": now_ms}) as answer:
                assert answer.status < 300, await answer.text()


def _step(now_ms: int, after: int, minutes: int, value: float) -> dict[str, Any]:
    begin = now_ms + after * MINUTE_MS
    return {"from_timestamp": begin, "to_timestamp": begin + minutes * MINUTE_MS, "value": value}


TO_THE_TOP = "card => { card.style.scrollMarginTop = '66px'; card.scrollIntoView(); }"  # below the header

# The lowest contrast between any text on the page and what is behind it, by WCAG's formula. What is disabled is
# exempt there (1.4.3, incidental), and so are labels that float over the borders of fields.
CONTRAST = """() => {
  const numbers = (color) => {
    const found = color.match(/[\\d.]+/g).map(Number);
    return color.startsWith("color(") ? found.map((part, index) => (index < 3 ? part * 255 : part)) : found;
  };
  const luminance = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(numbers(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, [r, g, b, a = 1]) =>
      [r, g, b].map((part, index) => part * a + below[index] * (1 - a)), [255, 255, 255]);
  };
  let lowest = 21;
  for (const element of document.querySelectorAll("main *, header *, footer *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("[disabled], .disabled, svg") || !element.checkVisibility()) continue;
    const color = numbers(getComputedStyle(element).color);
    if (!color.slice(0, 3).length || (color[3] ?? 1) < 0.5) continue;
    const [one, other] = [luminance(color), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < lowest) { lowest = contrast; window.lowestContrast = element.outerHTML.slice(0, 200); }
  }
  return lowest;
}"""
