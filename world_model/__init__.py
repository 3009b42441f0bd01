"""What happens next, with how much doubt: prediction, surprise, and learning from transitions.

A plain library: numpy in, numpy out. Knows vectors; knows nothing of the log, the loop, environments or
Ray."""
