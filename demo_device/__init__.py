"""A room with a heat pump that speaks Modbus/TCP, to try everything without hardware."""
