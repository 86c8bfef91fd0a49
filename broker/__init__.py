"""The set-up of the broker: Mosquitto's configuration, users, access rules and certificates, and all other secrets."""
