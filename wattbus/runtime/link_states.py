"""The states of a link (`wattbus.connector.LinkState`), what leads from one to another, and what is said about it.

Without time and without tasks: the supervisor says what happened.
"""

from __future__ import annotations

from collections.abc import Callable

from wattbus.connector import LinkState
from wattbus.service.conditions import Conditions

CONDITION = "link"
NO_ANSWER_YET = "connecting: no answer yet"
NO_VALUE_YET = "connected: no value has come yet"
ONLY_NO_VALUES = "it answers, but no values come"
SHORT_LIVES_FORGIVEN = 2
LONGEST_REASON = 500  # characters: it goes into the status, which is retained


class LinkStates:
    """`state`, and in `reason` what stands against it ("" when nothing does).

    `changed` is called when either changed. An outage is one condition, from the first failure until the link is well
    again, however often it is tried between and whatever its cause changes to: so the log has one line when it begins
    and one when it ends, and the status the reason that holds now.

    `value_is_due` says whether a value is expected soon after connecting. Where none is (a meter that speaks once an
    hour, a port that devices connect to), a link that is connected works well.

    A link that broke twice in a row before it had settled counts as well only when it has settled: else a device that
    answers and breaks at once would come and go with every attempt.
    """

    def __init__(self, conditions: Conditions, changed: Callable[[], None], value_is_due: Callable[[], bool]) -> None:
        self.state = LinkState.CONNECTING
        self.reason = NO_ANSWER_YET
        self._conditions = conditions
        self._changed = changed
        self._value_is_due = value_is_due
        self._short_lives = 0  # in a row
        # of this attempt:
        self._has_answered = False
        self._has_settled = False
        self._has_given_values = False
        self._nonsense = ""

    @property
    def is_well(self) -> bool:
        """Whether the link does what it should: values come, or it is connected and none is due."""
        return self.state is LinkState.UP or (self.state is LinkState.CONNECTED and not self.reason)

    @property
    def has_failed(self) -> bool:
        """Whether there is an outage now: what has not been tried to the end yet is none."""
        return self._conditions.get(CONDITION) is not None

    # -- what happens -----------------------------------------------------------------------------------------------

    def entered(self) -> None:
        """A new attempt begins."""
        self._has_answered = self._has_settled = self._has_given_values = False
        self._nonsense = ""

    def connected(self) -> None:
        """The other side has answered."""
        if not self._has_answered:
            self._has_answered = True
            self.judge()

    def values_came(self) -> None:
        """A message with values came: the link is up. Whether that is new."""
        if not self._has_given_values:
            self._has_answered = self._has_given_values = True
            self.judge()

    def nonsense_came(self, fault: str) -> None:
        """A message came that cannot be decoded; only the first one of an attempt says anything new."""
        if not self._nonsense and not self._has_given_values:
            self._nonsense = fault
            self.judge()

    def settled(self) -> None:
        """The link has stood for a while since it was connected."""
        if not self._has_settled:
            self._has_settled, self._short_lives = True, 0
            self.judge()

    def left(self, state: LinkState, reason: str) -> None:
        """The attempt has ended: `state` is SILENT or DOWN."""
        if self._has_answered and not self._has_settled:
            self._short_lives += 1
        self._set(state, reason)

    def given_up(self, reason: str) -> None:
        """The attempt has ended, and not because of the link: that is no outage."""
        self._set(LinkState.DOWN, reason, is_outage=False)

    def judge(self) -> None:
        """Find the state anew; to be called when what is due may have changed, too."""
        if self._short_lives >= SHORT_LIVES_FORGIVEN:
            return
        nonsense = f"what comes cannot be decoded: {self._nonsense}" if self._nonsense else ""
        if self._has_given_values:
            self._set(LinkState.UP, "")
        elif self._has_answered and (self.state is not LinkState.SILENT or not self._value_is_due()):
            self._set(LinkState.CONNECTED, nonsense or (NO_VALUE_YET if self._value_is_due() else ""))
        elif self._has_answered:
            self._set(LinkState.SILENT, nonsense or ONLY_NO_VALUES)
        elif nonsense:
            self._set(self.state, nonsense)

    def _set(self, state: LinkState, reason: str, *, is_outage: bool = True) -> None:
        before = self.state, self.reason
        self.state, self.reason = state, reason[:LONGEST_REASON]
        if self.is_well or not is_outage:
            self._conditions.end(CONDITION)
        elif self.has_failed or state in (LinkState.SILENT, LinkState.DOWN):
            self._conditions.hold(CONDITION, self.reason)
        if before != (self.state, self.reason):
            self._changed()
