"""Settings of the controller; names and meaning are BEMCom's where BEMCom has them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from controller.decision import NoSensor, Policy
from controller.orders import ControlOptions
from wattbus.settings import ServiceSettings, TopicLevel


def _datapoint(name: str) -> str:
    connector, slash, key = name.partition("/")
    if not connector or not slash or not key or any(char in connector for char in "+#"):
        raise ValueError("write it as connector/key, split at the first slash")
    return name


DatapointName = Annotated[str, AfterValidator(_datapoint)]


class ConfiguredPair(BaseModel):
    """A sensor and an actuator, each as `connector/key`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sensor: DatapointName
    actuator: DatapointName


def _topic(topic: str) -> str:
    if topic.startswith("/") or any(char in topic for char in "+#\0"):
        raise ValueError("name one topic, without wildcards")
    return topic


class Settings(ServiceSettings):
    """What the controller can be told."""

    service_name: TopicLevel = Field("controller", description="Name of this service on the bus.")
    mqtt_topic_controlled_datapoints: Annotated[str, AfterValidator(_topic)] = Field(
        "python_controller/controlled_datapoints",
        description="Topic on which the API tells which sensors and actuators belong together; empty: only those of "
        "`CONTROLLED_DATAPOINTS`.",
    )
    controlled_datapoints: list[ConfiguredPair] = Field(
        [],
        description='Pairs that are controlled without an API: `[{"sensor": "connector/key", "actuator": '
        '"connector/key"}, …]`, as JSON or YAML.',
    )
    controller_no_sensor: NoSensor = Field(
        "schedule",
        description="Whose value counts while the sensor of a setpoint with a range or list has not said anything yet.",
    )
    controller_hysteresis: float = Field(
        0.0,
        ge=0,
        description="A sensor that left the setpoint's range must come back this far inside before the schedule rules "
        "again (in the sensor's unit); 0: off.",
    )
    controller_min_dwell_seconds: float = Field(
        0.0, ge=0, description="Shortest time between two changes of one actuator (s); 0: off."
    )
    controller_repeat_seconds: float = Field(
        0.0, ge=0, description="Send the value again after this time without a change (s); 0: off."
    )
    controller_dry_run: bool = Field(
        False, description="Decide, and tell what would be sent; send nothing to any actuator."
    )
    controller_settle_seconds: float = Field(
        1.0,
        ge=0,
        le=60,
        description="Wait after connecting, and for a new pair, until the retained messages are in (s).",
    )
    command_expiry_seconds: int = Field(
        60, ge=1, description="Commands that waited longer than this at the broker (s) are dropped by it."
    )

    @field_validator("controlled_datapoints", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return [] if value in ("", None) else value

    @property
    def options(self) -> ControlOptions:
        """How actuators are treated."""
        return ControlOptions(
            policy=Policy(self.controller_no_sensor, self.controller_hysteresis),
            dwell_s=self.controller_min_dwell_seconds,
            repeat_s=self.controller_repeat_seconds,
            expiry_s=float(self.command_expiry_seconds),
        )
