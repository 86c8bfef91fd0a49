"""What stands around a connector: its link, its readings, its datapoints, its commands, its outbox."""
