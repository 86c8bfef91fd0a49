"""What the services keep: datapoints and their values, setpoints, schedules, outcomes, and how far each sender is;
and, apart from them, raw messages.

`open_store(url)` gives a `Store`, `open_raw_store(url)` a `RawStore`; every database behind them passes the same
conformance tests. Services meet here for tables and on the bus for everything else.
"""

from wattbus.storage.errors import BatchRefused, DatabaseAway
from wattbus.storage.factory import check_url, open_editable_store, open_raw_reader, open_raw_store, open_store
from wattbus.storage.history_store import EditableStore
from wattbus.storage.raw import RawConnector, RawCursor, RawReader, RawRecord, RawStore, StoredRawMessage
from wattbus.storage.records import (
    ALWAYS,
    Announcement,
    Batch,
    Outcome,
    Plan,
    PlanKind,
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
    "ALWAYS", "Aggregate", "Announcement", "Batch", "BatchRefused", "DatabaseAway", "EditableStore", "Outcome", "Plan",
    "PlanKind", "RawConnector", "RawCursor", "RawReader", "RawRecord", "RawStore", "ReadingValues", "Removed",
    "Retention", "SessionState", "Span", "Store", "StoredDatapoint", "StoredOutcome", "StoredPlan", "StoredRawMessage",
    "StoredValue", "TopicValue", "Written", "check_url", "open_editable_store", "open_raw_reader",
    "open_raw_store", "open_store",
]  # fmt: skip
