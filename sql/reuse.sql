-- What de-duplication and the store saved: rows that no model had to score, by run and in all
-- columns: started_at, input, model, rows_read, unique_scored, rows_reused, reused_share,
--     seconds_saved, run_id
--     (seconds_saved is estimated at the rate of the model's own runs, NULL where it has none;
--     the last row, without a run, is the sum)
-- param limit INTEGER: how many runs, latest first, default 20
WITH rates AS (
    SELECT
        model_fingerprint,
        sum(unique_scored) / nullif(sum(unique_scored / headlines_per_second), 0) AS rate
    FROM runs
    WHERE unique_scored > 0 AND headlines_per_second > 0
    GROUP BY model_fingerprint
),
latest AS (
    SELECT runs.*, rows_reused / rate AS seconds_saved
    FROM runs LEFT JOIN rates USING (model_fingerprint)
    WHERE status = 'done'
    ORDER BY started_at DESC, run_id DESC
    LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
)
SELECT
    started_at,
    CASE WHEN run_id IS NULL THEN 'these runs' ELSE any_value(input) END AS input,
    CASE WHEN run_id IS NOT NULL THEN any_value(model) END AS model,
    CAST(sum(rows_read) AS BIGINT) AS rows_read,
    CAST(sum(unique_scored) AS BIGINT) AS unique_scored,
    CAST(sum(rows_reused) AS BIGINT) AS rows_reused,
    sum(rows_reused) / nullif(sum(rows_read), 0) AS reused_share,
    sum(seconds_saved) AS seconds_saved,
    run_id
FROM latest
GROUP BY GROUPING SETS ((run_id, started_at), ())
ORDER BY started_at DESC NULLS LAST, run_id DESC
