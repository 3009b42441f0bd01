"""Whether a candidate is better than what stands.

sequential   looks, levels and bounds: the statistics of a judgement
verdict      the rule: outcomes and figures in, a judgement with its reasons out
seeds        what the pairs of an evaluation begin with, so that none ever recurs
outcomes     what episodes came to, read from the log
trial        a candidate against an incumbent, and the sessions that this asks for
foresight    how well both foresee what neither saw
evaluate     pairs of sessions, look after look, until the rule has decided
promotion    what follows: promoted or rejected, on the log first"""
