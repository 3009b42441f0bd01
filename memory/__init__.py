"""What is remembered, and how it is found again: episodes, their vectors, and an index that follows the log.

A library. Knows remembered events and vectors; knows nothing of the loop, environments, models or Ray."""
