"""From sessions on a log to a model: which of them, on what, with what the log hears of it."""
