"""PostgreSQL: COPY for what is new, hypertables where TimescaleDB is there, plain tables where it is not."""
