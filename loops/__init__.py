"""The cognitive loop: state, five phases, reasoners, environments.

Knows the order of things and the ports they go through; knows nothing of Ray or of any store."""
