"""What every service has: its life, its status on the bus, its name, its health."""
