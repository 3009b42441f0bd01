-- Where the world model was most wrong, with what had been decided.
-- $least double = 0.95: Only what surprised more than this share of what came before it.
-- $session text = null: Only this session.
SELECT s.session, s.cycle, s.percentile, s.nats, s.error, d.kind, d.action, d.why, s.prediction, s.event
FROM surprises s
LEFT JOIN predictions p ON p.event = s.prediction
LEFT JOIN decisions d ON d.stream = p.stream AND d.cycle = p.cycle
WHERE s.percentile >= $least AND ($session IS NULL OR s.session = $session)
ORDER BY s.percentile DESC, s.nats DESC, s.position
