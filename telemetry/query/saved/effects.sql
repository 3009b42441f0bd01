-- How the actions ended, by kind and tool: how many are unknown, how long they took.
-- $session text = null: Only this session.
SELECT kind, tool, outcome, count(*) AS times, sum(attempts) AS attempts,
       round(quantile_cont(elapsed_ns, 0.5) / 1e6, 3) AS median_ms, round(max(elapsed_ns) / 1e6, 3) AS longest_ms
FROM actions
WHERE $session IS NULL OR session = $session
GROUP BY ALL
ORDER BY times DESC, kind, tool, outcome
