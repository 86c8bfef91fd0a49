"""What the services keep: datapoints and their values, setpoints, schedules, outcomes, and how far each sender is.

`open_store(url)` gives a `Store`; every database behind it passes the same conformance tests. Services meet here for
tables and on the bus for everything else.
"""

from wattbus.storage.errors import BatchRefused, DatabaseAway
from wattbus.storage.opening import check_url, open_store
from wattbus.storage.records import (
    ALWAYS,
    Announcement,
    Batch,
    Outcome,
    Plan,
    ReadingValues,
    Removed,
    Retention,
    SessionState,
    Span,
    StoredDatapoint,
    StoredOutcome,
    StoredPlan,
    StoredValue,
    TopicValue,
    Written,
)
from wattbus.storage.store import Aggregate, Store

__all__ = [
    "ALWAYS", "Aggregate", "Announcement", "Batch", "BatchRefused", "DatabaseAway", "Outcome", "Plan", "ReadingValues",
    "Removed", "Retention", "SessionState", "Span", "Store", "StoredDatapoint", "StoredOutcome", "StoredPlan",
    "StoredValue", "TopicValue", "Written", "check_url", "open_store",
]  # fmt: skip
