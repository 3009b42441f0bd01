"""Learning from the log, round by round.

fleet    Ray and session hosts that stay up while sessions, trainings and judgements take turns"""
