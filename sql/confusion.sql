-- Confusion matrix by evaluated model and data: a row for each true label
-- columns: model, data, label, headlines, called_negative, called_neutral, called_positive,
--     no_answer, model_fingerprint
-- param model VARCHAR: name or fingerprint of one model, default all
-- param data VARCHAR: path of one data file, default all
SELECT
    model,
    data,
    label,
    count(*) AS headlines,
    count(*) FILTER (sentiment = 'negative') AS called_negative,
    count(*) FILTER (sentiment = 'neutral') AS called_neutral,
    count(*) FILTER (sentiment = 'positive') AS called_positive,
    count(*) FILTER (sentiment IS NULL) AS no_answer,
    model_fingerprint
FROM evaluated_headlines
WHERE coalesce(CAST(getvariable('model') AS VARCHAR), model) IN (model, model_fingerprint)
    AND data = coalesce(CAST(getvariable('data') AS VARCHAR), data)
GROUP BY model, model_fingerprint, data, label
ORDER BY model, model_fingerprint, data, label
