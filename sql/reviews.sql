-- What people said of headlines drawn for review, beside what models said, latest first
-- columns: headline, label, reviewer, reviewed_at, sentiment, is_right, confidence, source, month,
--     model, weight, sample_id, headline_key, model_fingerprint
--     (a row an answer, sample and model; label is the reviewer's, sentiment the model's; month is
--     that of the news, weight how many headlines the row stands for; the models of a run with
--     --first together are one more model)
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
),
cascades AS (
    SELECT
        model_fingerprint AS cascade_fingerprint,
        arg_max(model, started_at) AS cascade,
        arg_max(summary->>'$.cascade.first_fingerprint', started_at) AS first_fingerprint,
        arg_max(summary->>'$.cascade.second_fingerprint', started_at) AS second_fingerprint,
        CAST(arg_max(summary->>'$.cascade.sure', started_at) AS FLOAT) AS sure
    FROM runs
    WHERE summary->>'$.cascade.first_fingerprint' IS NOT NULL
    GROUP BY model_fingerprint
),
-- What the models of each cascade say: the first where it is sure, and the other is asked next.
in_turn AS (
    SELECT
        labels.* REPLACE (cascade_fingerprint AS model_fingerprint),
        cascade,
        CASE
            WHEN model_fingerprint = second_fingerprint THEN 1
            WHEN confidence >= sure THEN 0
            ELSE 2
        END AS turn,
        max(CAST(model_fingerprint = first_fingerprint AS INTEGER)) OVER headlines AS first_asked
    FROM labels INNER JOIN cascades ON model_fingerprint IN (first_fingerprint, second_fingerprint)
    WINDOW headlines AS (PARTITION BY sample_id, headline_key, cascade_fingerprint)
),
said AS (
    SELECT labels.*, model
    FROM labels LEFT JOIN models ON models.model_fingerprint = labels.model_fingerprint
    UNION ALL BY NAME
    SELECT * EXCLUDE (cascade, turn, first_asked), cascade AS model
    FROM in_turn
    WHERE turn < 2 AND first_asked = 1
    QUALIFY row_number() OVER (
        PARTITION BY sample_id, headline_key, model_fingerprint ORDER BY turn
    ) = 1
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
    model_fingerprint
FROM answers
INNER JOIN said USING (headline_key)
WHERE coalesce(CAST(getvariable('model') AS VARCHAR), model_fingerprint)
    IN (model, model_fingerprint)
ORDER BY reviewed_at DESC, headline, reviewer, model, model_fingerprint, sample_id
