"""Learning from the log, round by round.

fleet        Ray and session hosts that stay up while sessions, trainings and judgements take turns
sequential   looks, levels and bounds: the statistics of a judgement
verdict      the rule: outcomes and figures in, a judgement with its reasons out
seeds        what the pairs of an evaluation begin with, so that none ever recurs"""
