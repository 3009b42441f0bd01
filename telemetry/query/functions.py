"""Functions of DuckDB that a query may not call, and those whose answer changes over the same rows.

Knows names only. Invariant: of each function that DuckDB says has effects one of these lists says what becomes of it
(tested against the installed DuckDB)."""

from __future__ import annotations

from typing import Final

TABLE_FUNCTIONS: Final = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})
"""What may be called after FROM: it makes rows of its arguments. All others read files, tell of the process, or run
text as SQL that nobody has checked."""

REFUSED: Final = frozenset(
    {"current_setting", "getenv"}  # tell of the process
    | {"currval", "nextval", "setseed", "setval", "sleep_ms", "stats", "vector_type", "write_log"}  # have effects
    | {"json_deserialize_sql", "json_execute_serialized_sql", "query", "query_table"}  # SQL in a text
)

CHANGING: Final = frozenset(
    {"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"}
    | {"current_date", "current_localtime", "current_localtimestamp", "current_time", "current_timestamp"}
    | {"get_current_time", "get_current_timestamp", "localtime", "localtimestamp", "now", "today"}
    | {"transaction_timestamp", "txid_current", "current_connection_id", "current_query_id", "current_transaction_id"}
    | {"current_query", "version", "user", "current_user", "session_user"}
)
"""Answer otherwise another time or elsewhere."""

BARE: Final = frozenset(
    {"current_date", "current_time", "current_timestamp", "current_user"}
    | {"localtime", "localtimestamp", "session_user", "user"}
)
"""Of these, what DuckDB calls where it is written without brackets, as a column is: `version` is a column."""

ORDERED: Final = frozenset(
    {"any_value", "arbitrary", "array_agg", "first", "first_value", "group_concat", "histogram", "lag", "last"}
    | {"last_value", "lead", "list", "listagg", "mode", "nth_value", "row_number", "string_agg", "ntile"}
)
"""Answer by the order in which they see rows, which compaction and threads change."""

HARMLESS: Final = frozenset({"error"})
"""Have effects by DuckDB's word, and are of no consequence."""
