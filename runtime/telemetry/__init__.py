"""Telemetry as a use case: places, settings and the log brought together with what `telemetry` makes of events.

following   what follows a log beside its sessions, each on a thread of its own
exporting   which collectors and files there are, and under which cursors
metrics     what metrics count, as such a follower
cursors     where places in a log are kept
traces      where rows in Parquet lie, and what keeps them
query       questions in SQL
timeline    a session's cycles as trees of spans
datasets    training files built by a recipe
disclosed   what is made anew after payloads came that were withheld"""
