"""The embedded store: ClickHouse's HTTP dialect over chDB, for machines without a ClickHouse server."""
