-- Runs, latest first: what they read, scored and reused, how long they took
-- columns: started_at, status, input, model, rows_read, unique_scored (new), rows_reused (of these
--     rows_duplicate by the same headline in that run, the others from the store), seconds,
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
    CAST(json_extract(summary, '$.rows.duplicate') AS BIGINT) AS rows_duplicate,
    seconds,
    headlines_per_second,
    run_id
FROM runs
ORDER BY started_at DESC
LIMIT coalesce(getvariable('limit'), 20)
