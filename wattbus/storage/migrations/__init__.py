"""Schema changes, forward only, applied when a store is opened."""
