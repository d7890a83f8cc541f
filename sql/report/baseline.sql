-- The runs that a run is compared with: done before it, with the same model, and not empty.
SELECT run_id, started_at, input, summary
FROM runs
WHERE status = 'done'
    AND started_at < $started_at
    AND model_fingerprint = $model_fingerprint
    AND rows_read > 0
ORDER BY started_at DESC
LIMIT $runs
