"""One actuator: what is wanted of it, what it was sent, and what it is owed. No bus; time is given."""

from __future__ import annotations

from controller.decision import NOTHING, Decision, SensorState, rule
from controller.orders import Cause, ControlOptions, Order, SentCommand
from controller.pairs import Pair
from controller.preview import ComingCommand, Standing, preview
from controller.timeline import Timeline, next_change
from controller.values import same
from wattbus.mqtt.messages import ResultMessage, ScheduleItem, ScheduleMessage, SetpointItem, SetpointMessage
from wattbus.retry import Backoff

RETURN_PAUSE_S = 0.5  # a connector that has just come back subscribes to its actuators first
FAILING_PAUSE_S = 10.0  # the same for one whose link comes and goes with our commands
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
ANSWER_MARGIN_S = 5.0

Items = SetpointMessage | ScheduleMessage


class Actuator:
    """State of one pair, keyed by its actuator: two actuators may share a sensor.

    Moments are monotonic seconds (`at`) but for those that come from messages (`_ms`, UTC).
    """

    def __init__(self, pair: Pair, options: ControlOptions) -> None:
        self.pair = pair
        self.ready = False  # the retained messages are in
        self.decided = False  # at least once
        self.setpoint = Timeline[SetpointItem](None)
        self.schedule = Timeline[ScheduleItem](None)
        self.setpoint_message: SetpointMessage | None = None
        self.schedule_message: ScheduleMessage | None = None
        self.decision: Decision = NOTHING
        self.outside_of: SetpointItem | None = None  # the item whose range the sensor has left
        self.sent: SentCommand | None = None
        self.answers = False  # its connector tells outcomes
        self.repeatable = True  # the same command twice does no harm
        self.sending = False
        self._options = options
        self._sent_at = self._changed_at = float("-inf")
        self._owed_at: float | None = None
        self._owed_cause: Cause = "failure"
        self._failures = 0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    # -- what is wanted ---------------------------------------------------------------------------------------------

    def take_setpoint(self, message: SetpointMessage, retained: bool) -> bool:
        """Whether it is news: a retained message that is older than what we know, or the same, is none."""
        if retained and _known(self.setpoint_message, message):
            return False
        self.setpoint_message = message
        self.setpoint = Timeline(message.setpoint)
        return True

    def take_schedule(self, message: ScheduleMessage, retained: bool) -> bool:
        if retained and _known(self.schedule_message, message):
            return False
        self.schedule_message = message
        self.schedule = Timeline(message.schedule)
        return True

    def decide(self, sensor: SensorState | None, now_ms: int) -> Decision:
        """Look at the table again."""
        wanted = self.setpoint.at(now_ms)
        was_outside = wanted is not None and wanted == self.outside_of
        self.decision = rule(wanted, self.schedule.at(now_ms), sensor, self._options.policy, was_outside)
        self.outside_of = wanted if self.decision.outside else None
        return self.decision

    def coming(self, sensor: SensorState | None, now_ms: int) -> list[ComingCommand]:
        """What will be sent in the next 24 hours."""
        standing = Standing(self.sent.value, min(self.sent.changed_ms, now_ms)) if self.sent else None
        return preview(
            self.setpoint,
            self.schedule,
            sensor,
            now_ms,
            standing,
            policy=self._options.policy,
            outside_of=self.outside_of,
            dwell_ms=round(self._options.dwell_s * 1000),
        )

    # -- what is due ------------------------------------------------------------------------------------------------

    def order(self, now: float) -> Order | None:
        """The command that is due at `now`, by the last decision."""
        self._note_silence(now)
        if not self.decision.applies or self.sending:
            return None
        cause = self._cause(now)
        return Order(self.decision.value, self.decision.reason, cause) if cause else None

    @property
    def _differs(self) -> bool:
        return self.sent is None or not same(self.sent.value, self.decision.value)

    def _cause(self, now: float) -> Cause | None:
        if self._differs:
            return "change" if now >= self._change_allowed_at else None
        if self._owed_at is not None:
            return self._owed_cause if now >= self._owed_at else None
        repeat_s = self._repeat_s
        return "repetition" if repeat_s and now >= self._sent_at + repeat_s else None

    @property
    def _repeat_s(self) -> float:
        return self._options.repeat_s if self.repeatable else 0.0

    def announced(self, repeatable: bool) -> None:
        """Its connector says whether its commands may be repeated (start a transaction: no)."""
        if self.repeatable and not repeatable:
            self._owed_at = None  # nobody knows whether the last one was executed
        self.repeatable = repeatable

    @property
    def _change_allowed_at(self) -> float:
        return float("-inf") if self.sent is None else self._changed_at + self._options.dwell_s

    @property
    def held_back(self) -> bool:
        """A change is decided, and has to wait for the dwell time."""
        return self.decision.applies and self._differs and not self.sending

    def next_at(self, now_ms: int, now: float) -> float:
        """When to look again, if nothing happens before; infinity: never."""
        moments = [self._answer_due_at] if self._waits_for_answer else []
        change_ms = next_change(self.setpoint, self.schedule, now_ms)
        if change_ms is not None:
            moments.append(now + (change_ms - now_ms) / 1000)
        if self.decision.applies and not self.sending:
            if self._differs:
                moments.append(self._change_allowed_at)
            elif self._owed_at is not None:
                moments.append(self._owed_at)
            elif self._repeat_s:
                moments.append(self._sent_at + self._repeat_s)
        return min(moments, default=float("inf"))

    # -- what became of it ------------------------------------------------------------------------------------------

    def begin_sending(self, order: Order, command_id: str, now_ms: int, now: float) -> None:
        """Until `reached`, `refused` or `broker_away` it is not known whether anybody has it."""
        changed = self._differs
        changed_ms = now_ms if changed or self.sent is None else self.sent.changed_ms
        if changed:
            self._changed_at = now
            self._failures = 0
            self._backoff.reset()
        self.sent = SentCommand(order.value, now_ms, changed_ms, command_id)
        self._sent_at = now
        self._owed_at = None
        self.sending = True

    def reached(self, nobody: bool, now: float) -> None:
        """The broker has it; `nobody`: no connector listens."""
        self.sending = False
        if nobody and self.sent is not None and self.sent.outcome is None:
            self.sent.outcome, self.sent.detail = "failed", "no connector listens"
            self._owe(now + self._backoff.next_s(), "failure", missed=True)

    def refused(self, reason: str, now: float) -> None:
        """The broker does not take it."""
        self.sending = False
        if self.sent is not None:
            self.sent.outcome, self.sent.detail = "failed", reason
        self._owe(now + self._backoff.next_s(), "failure", missed=True)

    def broker_away(self, now: float) -> None:
        """The connection broke: it may have arrived, or not."""
        self.sending = False
        self._owe(now, "failure")

    def result(self, message: ResultMessage, now: float) -> bool:
        """What the connector tells; whether it is about our last command."""
        if self.sent is None or not self._is_ours(message, self.sent):
            return False
        self.answers = True
        self._note_outcome(message.outcome, message.detail, now, missed=message.outcome == "expired")
        return True

    @staticmethod
    def _is_ours(message: ResultMessage, sent: SentCommand) -> bool:
        if message.id is not None:
            return message.id == sent.id
        return message.command_timestamp == sent.timestamp_ms and same(message.value, sent.value)

    def _note_outcome(self, outcome: str, detail: str, now: float, *, missed: bool = False) -> None:
        assert self.sent is not None
        self.sent.outcome, self.sent.detail = outcome, detail
        if outcome not in ("failed", "expired"):  # applied; or rejected, which the same again would be too
            self._failures = 0
            self._backoff.reset()
            self._owed_at = None
            return
        self._failures += 1
        self._owe(now if self._failures == 1 else now + self._backoff.next_s(), "failure", missed=missed)

    def connector_returned(self, now: float) -> None:
        """Its connector is there again, perhaps another one, with a device that may have forgotten everything."""
        if self.sent is not None:
            self._owe(now + (FAILING_PAUSE_S if self._failures > 1 else RETURN_PAUSE_S), "return")

    def _owe(self, at: float, cause: Cause, *, missed: bool = False) -> None:
        """`missed`: the device did not get the last command for certain, so that it is the first time all the same."""
        if self.repeatable or missed:
            self._owed_at, self._owed_cause = at, cause

    @property
    def _waits_for_answer(self) -> bool:
        return self.answers and self.sent is not None and self.sent.outcome is None and not self.sending

    @property
    def _answer_due_at(self) -> float:
        return self._sent_at + self._options.expiry_s + ANSWER_MARGIN_S

    def _note_silence(self, now: float) -> None:
        """The broker drops what is too old without a word: a connector that tells outcomes never saw it.

        It gets it once more; who stays silent then has perhaps given place to one that tells none.
        """
        if self._waits_for_answer and now >= self._answer_due_at:
            self.answers = False
            self._note_outcome("expired", "the connector told no outcome", now)

    # -- over a restart ---------------------------------------------------------------------------------------------

    @property
    def resend_due(self) -> bool:
        """Whether the last command must be sent once more."""
        return self.sending or self._owed_at is not None

    def restore(self, sent: SentCommand | None, resend_due: bool, answers: bool, now_ms: int, now: float) -> None:
        """Take over what an earlier process knew. A clock that was set back makes nothing lie in the future."""
        self.sent, self.answers = sent, answers
        if sent is not None:
            self._sent_at = now - max(0, now_ms - sent.timestamp_ms) / 1000
            self._changed_at = now - max(0, now_ms - sent.changed_ms) / 1000
        if sent is not None and resend_due:
            self._owe(now, "failure")


def _known(known: Items | None, message: Items) -> bool:
    return known is not None and (known.timestamp > message.timestamp or known == message)
