"""Owns what a board says of its data source: the reference, and a query as the Grafana ClickHouse plugin 4.20 reads it.

It must never name a host: a board finds the store through the data source's uid alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"
#: The data source's uid, the same on every Grafana, so that a board needs no editing.
DATASOURCE_UID: Final = "kinestream-clickhouse"

#: The plugin's format codes: a frame with a time column for graphs, rows for the rest.
_FORMATS: Final = {"timeseries": 0, "table": 1}


def datasource() -> DataSourceRef:
    """The reference every panel, query and variable carries."""
    return DataSourceRef(PLUGIN, DATASOURCE_UID)


@dataclass(frozen=True, slots=True)
class Query(Dataquery, Builder[Dataquery]):
    """SQL of a panel; the foundation SDK has no builder for this plugin. ``kind`` is "table" or "timeseries"."""

    sql: str
    kind: str = "table"
    ref_id: str = "A"

    def build(self) -> Query:
        """Itself: there is nothing to add."""
        return self

    def to_json(self) -> dict[str, Any]:
        """The target of a panel."""
        return {
            "datasource": datasource(),
            "refId": self.ref_id,
            "editorType": "sql",
            "queryType": self.kind,
            "format": _FORMATS[self.kind],
            "pluginVersion": PLUGIN_VERSION,
            "rawSql": self.sql,
        }
