-- How long phases took, by scenario.
-- $scenario text = null: Only sessions of this scenario.
SELECT s.scenario, p.phase, count(*) AS times,
       round(quantile_cont(p.elapsed_ns, 0.5) / 1e6, 3) AS median_ms,
       round(quantile_cont(p.elapsed_ns, 0.99) / 1e6, 3) AS p99_ms,
       round(max(p.elapsed_ns) / 1e6, 3) AS longest_ms
FROM phases p JOIN sessions s USING (stream)
WHERE $scenario IS NULL OR s.scenario = $scenario
GROUP BY ALL
ORDER BY s.scenario, median_ms DESC, p.phase
