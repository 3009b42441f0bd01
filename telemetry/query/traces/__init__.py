"""Rows kept in Parquet: a folder or an fsspec URL, what its files are, who writes them, and how they are joined."""
