-- What each episode brought, and whether its goal was reached.
-- $scenario text = null: Only sessions of this scenario.
SELECT s.scenario, c.session, c.episode, count(*) AS cycles, max_by(c.episode_return, c.position) AS episode_return,
       bool_or(c.success) AS success, round(avg(c.nats), 3) AS mean_nats
FROM cycles c JOIN sessions s USING (stream)
WHERE c.episode IS NOT NULL AND ($scenario IS NULL OR s.scenario = $scenario)
GROUP BY ALL
ORDER BY s.scenario, c.session, c.episode
