"""What learning from the log costs and brings, end to end."""
