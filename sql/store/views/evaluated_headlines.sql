-- Labelled headlines with their predictions: of each model and data the last evaluation.
-- Two relations are put before it, as common table expressions: `predictions`, the rows of the
-- prediction files with their `filename`, and `prediction_files`, the paths of those files.
SELECT
    evaluated_at,
    model,
    model_fingerprint,
    data,
    predictions.headline,
    predictions.label,
    predictions.sentiment,
    predictions.p_negative,
    predictions.p_neutral,
    predictions.p_positive
FROM predictions
JOIN (
    SELECT *
    FROM (
        SELECT
            evaluated_at,
            model,
            model_fingerprint,
            data,
            json_extract_string(metrics, '$.predictions') AS file
        FROM evaluations
        -- A file belongs to the last evaluation that wrote it.
        QUALIFY row_number() OVER (PARTITION BY file ORDER BY evaluated_at DESC) = 1
    )
    WHERE file IN (SELECT path FROM prediction_files)
    QUALIFY row_number() OVER (
        PARTITION BY model, model_fingerprint, data ORDER BY evaluated_at DESC
    ) = 1
) AS latest ON predictions.filename = latest.file
