"""Which output formats can be sent in pieces, and how; must never be asked about input."""

from __future__ import annotations

_ALIASES = {"tsv": "tabseparated", "tsvraw": "tabseparatedraw", "jsonlines": "jsoneachrow", "ndjson": "jsoneachrow"}
#: every chunk is a document; documents one after the other are a document
_PLAIN = frozenset(
    [
        "native",
        "rowbinary",
        "tabseparated",
        "tabseparatedraw",
        "csv",
        "tskv",
        "jsoneachrow",
        "jsonstringseachrow",
        "jsoncompacteachrow",
        "jsoncompactstringseachrow",
        "lineasstring",
        "rawblob",
        "null",
    ]
)
_WITH_HEADER = frozenset(
    ["rowbinary", "tabseparated", "tabseparatedraw", "csv", "jsoncompacteachrow", "jsoncompactstringseachrow"]
)
_MIME = {
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "jsoncompacteachrow": "application/x-ndjson; charset=UTF-8",
    "arrowstream": "application/vnd.apache.arrow.stream",
    "arrow": "application/vnd.apache.arrow.file",
    "parquet": "application/vnd.apache.parquet",
    "xml": "application/xml; charset=UTF-8",
}


def key(name: str) -> str:
    """One spelling for each format: lower case, aliases resolved."""
    name = name.lower()
    for suffix in ("withnamesandtypes", "withnames"):
        if name.endswith(suffix):
            return _ALIASES.get(name.removesuffix(suffix), name.removesuffix(suffix)) + suffix
    return _ALIASES.get(name, name)


def is_arrow(name: str) -> bool:
    """Chunks must be rewritten by pyarrow into one stream or file."""
    return name.lower() in ("arrow", "arrowstream")


def has_header(name: str) -> bool:
    """Every chunk repeats names (and types) that belong once at the start."""
    short = key(name)
    base = short.removesuffix("withnamesandtypes").removesuffix("withnames")
    return base != short and base in _WITH_HEADER


def streams(name: str) -> bool:
    """Whether the format can be sent in pieces at all."""
    return key(name) in _PLAIN or has_header(name) or is_arrow(name)


def mime(name: str) -> str:
    """The Content-Type of a result."""
    short = key(name)
    if short.startswith("tabseparated"):
        short = "tabseparated"
    return _MIME.get(short, "text/plain; charset=UTF-8" if "pretty" in short else "application/octet-stream")
