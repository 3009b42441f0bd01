-- What a session did, event by event, with what it shares with the sessions that it was forked from.
-- $session text: Its id.
-- $cycle int = null: Only this cycle.
SELECT e.version, e.cycle, e.type, e.recorded_at, round(e.elapsed_ns / 1e6, 3) AS elapsed_ms, e.cause, e.payload
FROM events e JOIN lineage l ON e.stream = l.ancestor AND e.version <= l.to_version
WHERE l.session = $session AND ($cycle IS NULL OR e.cycle = $cycle)
ORDER BY e.version
