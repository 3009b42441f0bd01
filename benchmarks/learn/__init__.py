"""Learning from the log, in figures (`make bench-learn`).

__main__    the parts
training    a training on Ray beside the same one in plain torch
promotions  what the rule promotes wrongly, and what it misses
gain        what one round of `aether learn` brings"""
