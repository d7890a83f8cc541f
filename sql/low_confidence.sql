-- Scored headlines the model is least sure of, for human review
-- columns: headline, sentiment, confidence, p_negative, p_neutral, p_positive, model_fingerprint
-- param threshold DOUBLE: highest probability below which a headline is listed, default 0.5
-- param limit INTEGER: how many to list, default 20
SELECT
    headline,
    CASE
        WHEN p_negative >= p_neutral AND p_negative >= p_positive THEN 'negative'
        WHEN p_neutral >= p_positive THEN 'neutral'
        ELSE 'positive'
    END AS sentiment,
    greatest(p_negative, p_neutral, p_positive) AS confidence,
    p_negative,
    p_neutral,
    p_positive,
    model_fingerprint
FROM scores
WHERE greatest(p_negative, p_neutral, p_positive) < coalesce(getvariable('threshold'), 0.5)
ORDER BY confidence, headline_key
LIMIT coalesce(getvariable('limit'), 20)
