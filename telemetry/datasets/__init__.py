"""Datasets: a query pinned to a position of the log, split and written with where each row came from."""
