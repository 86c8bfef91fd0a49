"""Settings of the demo device."""

from __future__ import annotations

from pydantic import Field

from wattbus.settings import ServiceSettings, TopicLevel


class Settings(ServiceSettings):
    """What the demo device can be told. It speaks Modbus/TCP alone and needs no broker."""

    service_name: TopicLevel = Field("demo-device", description="Name of this service in logs and metrics.")
    demo_device_host: str = Field(
        "127.0.0.1", description="Address on which the demo device listens; `0.0.0.0` lets other machines in."
    )
    demo_device_port: int = Field(
        502, ge=0, le=65535, description="TCP port of the demo device; below 1024 needs privileges; 0: any free port."
    )
    time_factor: float = Field(
        60.0, gt=0, le=100_000, description="How many seconds pass in the room for each second on the clock."
    )
    log_values: bool = Field(
        False, description="Log temperature, setpoint and power every ten seconds (BEMCom: every second, by default)."
    )
