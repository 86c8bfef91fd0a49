"""The errors that the house knows; anything else is a bug."""

from __future__ import annotations


class WattbusError(Exception):
    """Base of the errors that are no bugs."""


class ConfigError(WattbusError):
    """Settings are wrong: one readable line that names the variable and what it expects."""


class AddressTaken(ConfigError):  # noqa: N818
    """Something else listens where this service wants to: another setting is needed, or the other one will go."""


class LinkDown(WattbusError):  # noqa: N818 - a state of the world rather than a fault of a program
    """Device or network away; the runtime waits and enters `run()` again, for ever."""


class LinkSilent(LinkDown):
    """The line stands, and nothing that makes sense was heard on it for too long. The runtime enters `run()` again.

    Such an outage ends when values come, or with `Link.connected()`: whoever raises this calls that only once something
    was heard again, not when the line has merely been opened again.
    """


class DecodeError(WattbusError):
    """A message makes no sense; it is kept raw, counted, and the next one is decoded."""


class CommandRejected(WattbusError):  # noqa: N818
    """A command is wrong, too old, out of range, or not allowed; the device was not touched."""


class PublishError(WattbusError):
    """The broker refused a message (MQTT 5 reason code 128 or above), or it cannot be sent at all."""

    def __init__(self, topic: str, reason: str, code: int) -> None:
        super().__init__(f"{topic}: {reason}")
        self.topic = topic
        self.reason = reason
        self.code = code


class BrokerAway(WattbusError):  # noqa: N818
    """There is no connection to the broker, or it broke before the broker acknowledged."""


class BrokerRefuses(BrokerAway):
    """The broker is there, and does not let this client in."""


class StopAsked(WattbusError):  # noqa: N818
    """Somebody who may asked this service to end: it does, cleanly, and is not started again by us."""


class ReadingsLost(WattbusError):  # noqa: N818
    """A connector had to end with readings that neither its disk nor history has; it says which."""


def causes(error: BaseException) -> list[BaseException]:
    """The leaves of a (nested) exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in causes(inner)]
    return [error]


def reason_to_end(error: BaseException) -> WattbusError | None:
    """What in an error ends a service for good, wrong settings before anything else; None when nothing does."""
    leaves = causes(error)
    for kind in (ConfigError, ReadingsLost, StopAsked):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return None
