"""A person at a browser."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from wattbus.testing.waiting import PATIENCE_S

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP, PHONE = (1440, 900), (390, 844)
SCREENSHOTS = Path(__file__).parents[3] / "docs" / "screenshots"
SOON_MS = round(1000 * PATIENCE_S)

expect.set_options(timeout=SOON_MS)

# What a chart shows, asked from the chart itself.
SERIES = """async (role) => {
  const { echarts } = await import("nicegui-echart");
  const chart = echarts.getInstanceByDom(document.querySelector(`[data-role=${role}] .wb-plot`));
  return Object.fromEntries((chart?.getOption()?.series ?? []).map((series) =>
    [series.id, { name: series.name, points: series.data, bands: series.markArea?.data?.length ?? 0 }]));
}"""
AXES = """async (role) => {
  const { echarts } = await import("nicegui-echart");
  const chart = echarts.getInstanceByDom(document.querySelector(`[data-role=${role}] .wb-plot`));
  return chart.getOption().yAxis.map((axis) => axis.name);
}"""
HANDLES = """async () => {
  const { echarts } = await import("nicegui-echart");
  const place = document.querySelector("[data-role=plan] .wb-plot");
  const chart = echarts.getInstanceByDom(place);
  const box = place.getBoundingClientRect();
  return chart.getZr().storage.getDisplayList().filter((shape) => shape.z === 100)
    .map((shape) => ({ x: box.x + shape.x, y: box.y + shape.y, free: shape.draggable === true }));
}"""


@contextlib.asynccontextmanager
async def browser_running() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


class Person:
    """Looks at pages; whatever a page complains about, or wants from elsewhere, is remembered."""

    def __init__(self, context: BrowserContext, page: Page, address: str) -> None:
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        self._address = address
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("request", lambda request: self._look_at(request.url))

    def _hear(self, kind: str, text: str) -> None:
        # A container of another test that comes or goes changes the machine's network; Chromium loads again by itself.
        if kind == "error" and "ERR_NETWORK_CHANGED" not in text:
            self.complaints.append(text)

    def _look_at(self, url: str) -> None:
        if not url.startswith((self._address, "data:", "blob:", self._address.replace("http", "ws"))):
            self.complaints.append(f"wants {url}")

    async def open(self, path: str) -> Page:
        await self.page.goto(self._address + path)
        return self.page

    async def series(self, role: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.page.evaluate(SERIES, role)
        return found

    async def axes(self, role: str) -> list[str]:
        found: list[str] = await self.page.evaluate(AXES, role)
        return found

    async def handles(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.page.evaluate(HANDLES)
        return found

    async def overflow(self) -> int:
        """How many pixels the page is wider than the screen."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@contextlib.asynccontextmanager
async def person(
    browser: Browser, address: str, size: tuple[int, int] = DESKTOP, shade: Any = "light"
) -> AsyncIterator[Person]:
    """Somebody with a screen of this size whose system is light or dark; nothing may be complained about."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=shade,
        has_touch=size == PHONE,
        locale="en-GB",
    )
    context.set_default_timeout(SOON_MS)
    someone = Person(context, await context.new_page(), address)
    try:
        yield someone
    finally:
        await context.close()
    assert someone.complaints == [], someone.complaints


async def picture(page: Page, name: str, folder: Path) -> None:
    """Into docs when WATTBUS_SCREENSHOTS is set, else where nobody has to look."""
    kept = os.environ.get("WATTBUS_SCREENSHOTS") == "1"
    target = SCREENSHOTS if kept else folder
    target.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=target / f"{name}.png")
    assert (target / f"{name}.png").stat().st_size < 150_000
