-- Mean sentiment and label shares by any column of the published rows: source, ticker, section
-- columns: value, headlines, mean_score, positive_share, neutral_share, negative_share
-- param by_column VARCHAR: required, the column to group by
-- param since DATE: first day, default all
-- param until DATE: last day, default all
-- param minimum INTEGER: fewest headlines that a value must have, default 1
-- param limit INTEGER: how many values, those with most headlines first, default 50
SELECT
    value,
    count(*) AS headlines,
    avg(sentiment_score) AS mean_score,
    avg(CAST(sentiment = 'positive' AS INTEGER)) AS positive_share,
    avg(CAST(sentiment = 'neutral' AS INTEGER)) AS neutral_share,
    avg(CAST(sentiment = 'negative' AS INTEGER)) AS negative_share
FROM (
    SELECT
        CAST(COLUMNS(lambda name: lower(name) = lower(getvariable('by_column'))) AS VARCHAR)
            AS value,
        sentiment_score AS sentiment_score,
        sentiment AS sentiment
    FROM scored_headlines
    WHERE sentiment IS NOT NULL
        AND (getvariable('since') IS NULL
            OR CAST(news_time AS DATE) >= CAST(getvariable('since') AS DATE))
        AND (getvariable('until') IS NULL
            OR CAST(news_time AS DATE) <= CAST(getvariable('until') AS DATE))
)
GROUP BY value
HAVING count(*) >= coalesce(CAST(getvariable('minimum') AS BIGINT), 1)
ORDER BY headlines DESC, value
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 50)
