"""Rows that follow from events: what there is of them, how they are made, and how they become Arrow tables."""
