-- What was held back, by which rules and why.
-- $session text = null: Only this session.
SELECT session, cycle, verdict, action, arguments, rules, grounds, event
FROM appraisals
WHERE verdict <> 'allow' AND ($session IS NULL OR session = $session)
ORDER BY position
