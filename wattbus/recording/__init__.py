"""What services that keep what comes over the bus in a database share."""
