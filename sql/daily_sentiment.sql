-- Mean sentiment, label shares and count of published headlines by day
-- columns: day, headlines, mean_score, positive_share, neutral_share, negative_share
--     (the last row, without a day, has the headlines whose time cannot be read, if there are any)
-- param since DATE: first day, default all
-- param until DATE: last day, default all
SELECT
    CAST(news_time AS DATE) AS day,
    count(*) AS headlines,
    avg(sentiment_score) AS mean_score,
    avg(CAST(sentiment = 'positive' AS INTEGER)) AS positive_share,
    avg(CAST(sentiment = 'neutral' AS INTEGER)) AS neutral_share,
    avg(CAST(sentiment = 'negative' AS INTEGER)) AS negative_share
FROM scored_headlines
WHERE sentiment IS NOT NULL
    AND (news_time IS NULL
        OR CAST(news_time AS DATE)
            BETWEEN coalesce(CAST(getvariable('since') AS DATE), DATE '0001-01-01')
            AND coalesce(CAST(getvariable('until') AS DATE), DATE '9999-12-31'))
GROUP BY ALL
ORDER BY day NULLS LAST
