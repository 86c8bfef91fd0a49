"""`/healthz`, `/readyz`, `/metrics`: for those who watch this service."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.answers import Json
from api.routes.parts import CoreOf
from wattbus import metrics
from wattbus.service import health

router = APIRouter(tags=["health"])


@router.get("/healthz/")
async def healthz(core: CoreOf) -> Response:
    """Whether it works at all."""
    return _answer(core.settings.name, ready=False)


@router.get("/readyz/")
async def readyz(core: CoreOf) -> Response:
    """Whether broker and database are there."""
    return _answer(core.settings.name, ready=True)


@router.get("/metrics/")
async def numbers() -> Response:
    """Numbers of this process for Prometheus."""
    return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _answer(service: str, ready: bool) -> Response:
    faults = health.of(service).faults(ready=ready)
    told = {service: faults} if faults else {}
    return Json({"ok": not faults, "faults": told}, 503 if faults else 200)
