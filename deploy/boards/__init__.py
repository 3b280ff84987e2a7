"""Grafana boards as code: built, committed as JSON, provisioned or pushed; never writes to the store."""
