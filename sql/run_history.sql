-- Runs, latest first: what they read, scored and reused, how long they took
-- columns: started_at, status, input, model, rows_read, unique_scored, rows_reused, rows_duplicate,
--     seconds, headlines_per_second, run_id (rows_duplicate: those of rows_reused that repeat a
--     headline of the same run; the others were answered from the store)
-- param limit INTEGER: how many runs, default 20
SELECT
    started_at,
    status,
    input,
    model,
    rows_read,
    unique_scored,
    rows_reused,
    CAST(json_extract(summary, '$.rows.duplicate') AS BIGINT) AS rows_duplicate,
    seconds,
    headlines_per_second,
    run_id
FROM runs
ORDER BY started_at DESC
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
