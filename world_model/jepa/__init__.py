"""A joint-embedding predictive model: what follows an action, foreseen in the space of what was seen."""
