-- Runs, latest first: what they read, scored and reused, how long they took
-- columns: started_at, status, input, model, rows_read, unique_scored, rows_reused, seconds,
--     headlines_per_second, run_id
-- param limit INTEGER: how many runs, default 20
SELECT
    started_at,
    status,
    input,
    model,
    rows_read,
    unique_scored,
    rows_reused,
    seconds,
    headlines_per_second,
    run_id
FROM runs
ORDER BY started_at DESC
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
