-- The runs that a run is compared with: done before it, with the same model, and not empty. What
-- brought the same rows of the same inputs counts once, as last run, and not beside itself.
WITH brought AS (
    SELECT
        *,
        coalesce(CAST(options -> 'sources' AS VARCHAR), input) AS sources,
        coalesce(json_extract_string(summary, '$.content'), run_id) AS content
    FROM runs
)
SELECT run_id, started_at, input, summary
FROM brought
WHERE status = 'done'
    AND started_at < $started_at
    AND model_fingerprint = $model_fingerprint
    AND rows_read > 0
    AND options ->> 'limit' IS NULL
    AND (sources, content) NOT IN (SELECT (sources, content) FROM brought WHERE run_id = $run_id)
QUALIFY row_number() OVER (PARTITION BY sources, content ORDER BY started_at DESC) = 1
ORDER BY started_at DESC
LIMIT $runs
