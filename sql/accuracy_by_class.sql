-- How often each label was recognised, by evaluated model and data
-- columns: model, data, label, headlines, accuracy, precision, f1, model_fingerprint
--     (accuracy is the share of the label's headlines that got it, its recall; a missing
--     prediction counts as wrong)
-- param model VARCHAR: name or fingerprint of one model, default all
-- param data VARCHAR: path of one data file, default all
WITH counted AS (
    SELECT
        model,
        model_fingerprint,
        data,
        class,
        count(*) FILTER (label = class) AS headlines,
        count(*) FILTER (sentiment = class) AS called,
        count(*) FILTER (label = class AND sentiment = class) AS hits
    FROM evaluated_headlines, (VALUES ('negative'), ('neutral'), ('positive')) AS labels (class)
    WHERE coalesce(CAST(getvariable('model') AS VARCHAR), model) IN (model, model_fingerprint)
        AND data = coalesce(CAST(getvariable('data') AS VARCHAR), data)
    GROUP BY ALL
)
SELECT
    model,
    data,
    class AS label,
    headlines,
    coalesce(hits / nullif(headlines, 0), 0) AS accuracy,
    coalesce(hits / nullif(called, 0), 0) AS precision,
    coalesce(2 * hits / nullif(headlines + called, 0), 0) AS f1,
    model_fingerprint
FROM counted
ORDER BY model, model_fingerprint, data, label
