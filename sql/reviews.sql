-- What people said of headlines drawn for review, beside what models said, latest first
-- columns: headline, label, reviewer, reviewed_at, sentiment, is_right, confidence, source, month,
--     model, weight, sample_id, headline_key, model_fingerprint
--     (a row an answer, sample and model; label is the reviewer's, sentiment the model's; month is
--     that of the news, weight how many headlines the row stands for)
-- param model VARCHAR: name or fingerprint of one model, default all
WITH answers AS (
    SELECT
        headline_key,
        reviewer,
        arg_max(headline, reviewed_at) AS headline,
        arg_max(label, reviewed_at) AS label,
        max(reviewed_at) AS reviewed_at
    FROM reviews
    GROUP BY headline_key, reviewer
),
labels AS (
    SELECT sample_id, headline_key, model_fingerprint, sentiment, confidence, source, month, weight
    FROM review_samples
    UNION ALL
    SELECT
        sample_id,
        headline_key,
        scores.model_fingerprint,
        CASE
            WHEN p_negative >= p_neutral AND p_negative >= p_positive THEN 'negative'
            WHEN p_neutral >= p_positive THEN 'neutral'
            ELSE 'positive'
        END AS sentiment,
        greatest(p_negative, p_neutral, p_positive) AS confidence,
        source,
        month,
        weight
    FROM review_samples
    INNER JOIN scores USING (headline_key)
    WHERE scores.model_fingerprint <> review_samples.model_fingerprint
)
SELECT
    headline,
    label,
    reviewer,
    reviewed_at,
    sentiment,
    label = sentiment AS is_right,
    confidence,
    source,
    month,
    model,
    weight,
    sample_id,
    headline_key,
    labels.model_fingerprint AS model_fingerprint
FROM answers
INNER JOIN labels USING (headline_key)
LEFT JOIN models ON models.model_fingerprint = labels.model_fingerprint
WHERE coalesce(CAST(getvariable('model') AS VARCHAR), labels.model_fingerprint)
    IN (model, labels.model_fingerprint)
ORDER BY reviewed_at DESC, headline, reviewer, model, labels.model_fingerprint, sample_id
