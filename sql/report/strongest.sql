-- The headlines of one label with the strongest scores; `sign` is 1 or -1. Unlike the queries
-- most_positive and most_negative, a headline that was printed several times is named once, with
-- the earliest time.
SELECT min(news_time) AS time, news_text AS headline, sentiment, sentiment_score
FROM scored_headlines
WHERE sentiment = $label
GROUP BY news_text, sentiment, sentiment_score
ORDER BY sentiment_score * $sign DESC, time, headline
LIMIT $headlines
