-- Headlines that two models label differently, the widest apart first
-- columns: headline, one_sentiment, other_sentiment, one_score, other_score, change,
--     one_fingerprint, other_fingerprint
--     (change is the other model's score less the first one's)
-- param one VARCHAR: fingerprint of a model or its beginning, default the one that scored last
-- param other VARCHAR: fingerprint of another or its beginning, default the last one before it
-- param limit INTEGER: how many, default 20
WITH models_used AS (
    SELECT model_fingerprint, max(scored_at) AS last_used
    FROM headline_scores
    GROUP BY model_fingerprint
),
first_model AS (
    SELECT model_fingerprint
    FROM models_used
    WHERE starts_with(model_fingerprint, coalesce(CAST(getvariable('one') AS VARCHAR), ''))
        AND (getvariable('one') IS NOT NULL OR getvariable('other') IS NULL
            OR NOT starts_with(model_fingerprint, CAST(getvariable('other') AS VARCHAR)))
    ORDER BY last_used DESC, model_fingerprint
    LIMIT 1
),
second_model AS (
    SELECT model_fingerprint
    FROM models_used
    WHERE starts_with(model_fingerprint, coalesce(CAST(getvariable('other') AS VARCHAR), ''))
        AND model_fingerprint NOT IN (FROM first_model)
    ORDER BY last_used DESC, model_fingerprint
    LIMIT 1
)
SELECT
    one.headline,
    one.sentiment AS one_sentiment,
    other.sentiment AS other_sentiment,
    one.sentiment_score AS one_score,
    other.sentiment_score AS other_score,
    other.sentiment_score - one.sentiment_score AS change,
    one.model_fingerprint AS one_fingerprint,
    other.model_fingerprint AS other_fingerprint
FROM headline_scores AS one
JOIN headline_scores AS other USING (headline_key)
WHERE one.model_fingerprint = (FROM first_model)
    AND other.model_fingerprint = (FROM second_model)
    AND one.sentiment <> other.sentiment
ORDER BY abs(change) DESC, headline_key
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
