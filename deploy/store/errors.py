"""Refusals of the store in ClickHouse's own words; must never carry a Python traceback to a client."""

from __future__ import annotations

import re

from kinestream.schemas.errors import StoreError

SYNTAX_ERROR = 62
NOT_IMPLEMENTED = 48
UNKNOWN_FORMAT = 73
READONLY = 164
QUERY_ID_IN_USE = 216
CANNOT_PARSE = 27
BAD_ARGUMENTS = 36
CANNOT_DECOMPRESS = 271
AUTHENTICATION_FAILED = 516
ACCESS_DENIED = 497
SETTING_CONSTRAINT_VIOLATION = 452
UNKNOWN_EXCEPTION = 1002

_NAMES = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    UNKNOWN_FORMAT: "UNKNOWN_FORMAT",
    READONLY: "READONLY",
    QUERY_ID_IN_USE: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    CANNOT_PARSE: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    ACCESS_DENIED: "ACCESS_DENIED",
    SETTING_CONSTRAINT_VIOLATION: "SETTING_CONSTRAINT_VIOLATION",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}
_CODE = re.compile(r"Code: (\d+)\. DB::")

# What a ClickHouse server answers; clients choose between "my fault", "forbidden" and "try again" by it.
_STATUS = (
    (403, {READONLY, AUTHENTICATION_FAILED, ACCESS_DENIED, 192, 193, 194, 291, SETTING_CONSTRAINT_VIOLATION}),
    (
        400,
        {6, 26, CANNOT_PARSE, BAD_ARGUMENTS, 38, 41, 43, 53, SYNTAX_ERROR, 72, UNKNOWN_FORMAT, CANNOT_DECOMPRESS, 457},
    ),
    (404, {16, 46, 47, 60, 63, 81, 115}),
    (408, {159}),
    (501, {NOT_IMPLEMENTED}),
)


class QueryError(StoreError):
    """One statement refused or failed: ``code`` is ClickHouse's error code, the text its whole message."""

    def __init__(self, code: int, text: str) -> None:
        name = f" ({_NAMES[code]})" if code in _NAMES else ""
        super().__init__(text if _CODE.search(text) else f"Code: {code}. DB::Exception: {text}{name}")
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status of a refusal before the first byte of a result."""
        return next((status for status, codes in _STATUS if self.code in codes), 500)


def from_engine(problem: BaseException) -> QueryError:
    """The engine's exception as a typed one; text without a code becomes UNKNOWN_EXCEPTION."""
    text = str(problem).strip()
    found = _CODE.search(text)
    return QueryError(int(found.group(1)) if found else UNKNOWN_EXCEPTION, text)
