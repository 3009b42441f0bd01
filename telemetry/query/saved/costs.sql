-- What models were asked and what it cost, by model and session.
-- $since time = null: Only since then, UTC.
SELECT model, session, count(*) AS calls, count(*) FILTER (WHERE outcome <> 'answered') AS without_answer,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, round(sum(cost_usd), 6) AS cost_usd
FROM model_calls
WHERE $since IS NULL OR recorded_at >= $since
GROUP BY ALL
ORDER BY cost_usd DESC, calls DESC, model, session
