-- Not a query: lets the duckdb shell run the queries about news over scored Parquet, no store
--     SET VARIABLE scored = 'news.scored.parquet';  -- a glob or a list of files too
--     .read sql/_scored_parquet.sql
--     .read sql/daily_sentiment.sql
-- The columns named first are those that the queries may ask for and the files may lack.
SET TimeZone = 'UTC';

CREATE OR REPLACE TEMP VIEW scored_headlines AS
SELECT
    *,
    CAST(coalesce(
        TRY_CAST(published_at AS TIMESTAMPTZ), TRY_CAST("date" AS TIMESTAMPTZ),
        TRY_CAST("time" AS TIMESTAMPTZ), TRY_CAST(scored_at AS TIMESTAMPTZ)
    ) AS TIMESTAMP) AS news_time,
    coalesce(headline, title, "text", sentence) AS news_text
FROM (
    SELECT
        NULL AS published_at, NULL AS "date", NULL AS "time", NULL AS scored_at,
        NULL AS headline, NULL AS title, NULL AS "text", NULL AS sentence,
        NULL AS label, NULL AS sentiment_score, NULL AS score_status,
        '' AS model_fingerprint
    WHERE false
    UNION ALL BY NAME
    FROM read_parquet(
        getvariable('scored'), union_by_name = true, hive_partitioning = false
    )
);

CREATE OR REPLACE TEMP VIEW evaluated_headlines AS
SELECT
    coalesce(model_fingerprint, '') AS model,
    coalesce(model_fingerprint, '') AS model_fingerprint,
    CAST(getvariable('scored') AS VARCHAR) AS data,
    news_text AS headline,
    lower(CAST(label AS VARCHAR)) AS label,
    sentiment,
    p_negative,
    p_neutral,
    p_positive
FROM scored_headlines
WHERE label IS NOT NULL;
