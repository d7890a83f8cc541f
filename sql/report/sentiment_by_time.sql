-- Sentiment by hour or day for a chart: unlike the query daily_sentiment, nothing is rounded.
SELECT
    date_trunc($unit, news_time) AS time,
    count(*) AS headlines,
    avg(sentiment_score) AS mean_score,
    avg((sentiment = 'positive')::INTEGER) AS positive_share,
    avg((sentiment = 'neutral')::INTEGER) AS neutral_share,
    avg((sentiment = 'negative')::INTEGER) AS negative_share
FROM scored_headlines
WHERE sentiment IS NOT NULL AND news_time IS NOT NULL
GROUP BY time
ORDER BY time
