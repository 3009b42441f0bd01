"""Ways to come from what is known to what could be done. Each keeps the `Reasoner` port of `loops.ports`."""
