-- Published headlines with the highest sentiment score
-- columns: news_time, headline, sentiment, sentiment_score
-- param since DATE: first day, default all
-- param until DATE: last day, default all
-- param limit INTEGER: how many, default 20
WITH news AS NOT MATERIALIZED (
    SELECT news_time, news_text AS headline, sentiment, sentiment_score
    FROM scored_headlines
    WHERE sentiment IS NOT NULL
        AND (getvariable('since') IS NULL
            OR CAST(news_time AS DATE) >= CAST(getvariable('since') AS DATE))
        AND (getvariable('until') IS NULL
            OR CAST(news_time AS DATE) <= CAST(getvariable('until') AS DATE))
),
-- As many different scores belong to at least as many different rows: only those are compared.
extremes AS (
    SELECT DISTINCT sentiment_score
    FROM news
    ORDER BY sentiment_score DESC
    LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
)
SELECT DISTINCT news_time, headline, sentiment, sentiment_score
FROM news
WHERE sentiment_score >= (SELECT min(sentiment_score) FROM extremes)
ORDER BY sentiment_score DESC, news_time, headline
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
