"""Learning from the log, round by round.

fleet        Ray and session hosts that stay up while sessions, trainings and judgements take turns
sequential   looks, levels and bounds: the statistics of a judgement
verdict      the rule: outcomes and figures in, a judgement with its reasons out
seeds        what the pairs of an evaluation begin with, so that none ever recurs
outcomes     what episodes came to, read from the log
trial        a candidate against an incumbent, and the sessions that this asks for
foresight    how well both foresee what neither saw
evaluate     pairs of sessions, look after look, until the rule has decided
promotion    what follows: promoted or rejected, on the log first
gather       sessions, wave after wave, until enough moves are on the log
history      where the rounds stand, as the log tells it
curve        figures by round, from the log alone
draw         the curve in a picture, and in characters"""
