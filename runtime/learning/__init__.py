"""Learning from the log, round by round, or by itself beside a running fleet.

course     a scenario with what it says of learning
fleet      Ray and session hosts that stay up while sessions, trainings and judgements take turns
rounds     gather, train, judge, again
candidate  what is trained next, and what of it needs no judgement
gather     sessions, wave after wave, until enough moves are on the log
history    where the rounds stand, as the log tells it
judging    whether a candidate is better, and what follows
scheduled  a running fleet that learns by itself
curve      figures by round, from the log alone
draw       the curve in a picture, and in characters"""
