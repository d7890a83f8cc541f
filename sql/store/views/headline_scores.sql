-- Each distinct headline once a model that scored it. Ties go to the label named first.
SELECT
    headline_key,
    headline,
    CASE
        WHEN p_negative >= p_neutral AND p_negative >= p_positive THEN 'negative'
        WHEN p_neutral >= p_positive THEN 'neutral'
        WHEN p_positive IS NOT NULL THEN 'positive'
    END AS sentiment,
    p_positive - p_negative AS sentiment_score,
    p_negative,
    p_neutral,
    p_positive,
    greatest(p_negative, p_neutral, p_positive) AS confidence,
    truncated,
    models.model,
    scores.model_fingerprint,
    run_id,
    scored_at
FROM scores
LEFT JOIN models ON models.model_fingerprint = scores.model_fingerprint
