-- Each published headline once, with the label and confidence that it was given last.
-- {headline}, {key}, {source} and {condition} are filled in.
WITH labelled AS (
    SELECT
        {headline} AS headline,
        struct_pack(
            model_fingerprint := model_fingerprint,
            sentiment := sentiment,
            confidence := greatest(p_negative, p_neutral, p_positive)
        ) AS said,
        {source} AS source,
        news_time,
        scored_at
    FROM scored_headlines
    WHERE sentiment IS NOT NULL AND news_text IS NOT NULL AND {condition}
),
headlines AS (
    SELECT
        {key} AS headline_key,
        headline,
        arg_max(said, scored_at) AS said,
        min(source) AS source,
        CAST(date_trunc('month', min(news_time)) AS DATE) AS month
    FROM labelled
    GROUP BY headline
)
SELECT
    headline_key,
    headline,
    said.model_fingerprint AS model_fingerprint,
    said.sentiment AS sentiment,
    said.confidence AS confidence,
    source,
    month
FROM headlines
