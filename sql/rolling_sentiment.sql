-- Sentiment index over the last 7 and 30 days, and its change against the same span before
-- columns: day, headlines, mean_score, index_7d, change_7d, index_30d, change_30d
--     (an index is the mean score of all headlines of the span; a change is NULL where the span
--     before it has none; days without news have no row)
-- param since DATE: first day shown, default all
-- param until DATE: last day shown, default all
WITH days AS (
    SELECT CAST(news_time AS DATE) AS day, count(*) AS headlines, sum(sentiment_score) AS score
    FROM scored_headlines
    WHERE sentiment IS NOT NULL AND news_time IS NOT NULL
    GROUP BY ALL
),
spans AS (
    SELECT
        *,
        sum(score) OVER week / sum(headlines) OVER week AS week_now,
        sum(score) OVER week_before / sum(headlines) OVER week_before AS week_then,
        sum(score) OVER month / sum(headlines) OVER month AS month_now,
        sum(score) OVER month_before / sum(headlines) OVER month_before AS month_then
    FROM days
    WINDOW
        week AS (ORDER BY day RANGE BETWEEN INTERVAL 6 DAYS PRECEDING AND CURRENT ROW),
        week_before AS (
            ORDER BY day RANGE BETWEEN INTERVAL 13 DAYS PRECEDING AND INTERVAL 7 DAYS PRECEDING
        ),
        month AS (ORDER BY day RANGE BETWEEN INTERVAL 29 DAYS PRECEDING AND CURRENT ROW),
        month_before AS (
            ORDER BY day RANGE BETWEEN INTERVAL 59 DAYS PRECEDING AND INTERVAL 30 DAYS PRECEDING
        )
)
SELECT
    day,
    headlines,
    score / headlines AS mean_score,
    week_now AS index_7d,
    week_now - week_then AS change_7d,
    month_now AS index_30d,
    month_now - month_then AS change_30d
FROM spans
WHERE day >= coalesce(CAST(getvariable('since') AS DATE), DATE '0001-01-01')
    AND day <= coalesce(CAST(getvariable('until') AS DATE), DATE '9999-12-31')
ORDER BY day
