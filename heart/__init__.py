"""What the agent must not do, must ask first, and how the moment feels.

A plain library. Knows rules, proposals and named arrays; knows nothing of the log, the loop, models or
Ray."""
