-- Scored headlines the model is least sure of, for human review
-- columns: headline, sentiment, confidence, p_negative, p_neutral, p_positive, model,
--     model_fingerprint
-- param threshold DOUBLE: highest probability below which a headline is listed, default 0.5
-- param model VARCHAR: name or fingerprint (or its beginning) of one model, default all
-- param limit INTEGER: how many to list, default 20
SELECT
    headline, sentiment, confidence, p_negative, p_neutral, p_positive, model, model_fingerprint
FROM headline_scores
WHERE confidence < coalesce(CAST(getvariable('threshold') AS DOUBLE), 0.5)
    AND (getvariable('model') IS NULL
        OR model = CAST(getvariable('model') AS VARCHAR)
        OR starts_with(model_fingerprint, CAST(getvariable('model') AS VARCHAR)))
ORDER BY confidence, headline_key
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
