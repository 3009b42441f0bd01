"""How things came about over the whole log: from a decision to the model that it was made by, the verdict that let it
act, its training and the sessions that it learnt from, and from these forward again."""
