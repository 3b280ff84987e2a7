"""What the stream writes to and reads from ClickHouse: connections, Arrow tables, recovery queries."""
