"""Traces that can be queried: rows that follow from events, kept in Parquet, and SQL over them and what came since."""
