-- Published headlines with the highest sentiment score
-- columns: news_time, headline, sentiment, sentiment_score
-- param limit INTEGER: how many, default 20
SELECT DISTINCT news_time, news_text AS headline, sentiment, sentiment_score
FROM scored_headlines
WHERE sentiment IS NOT NULL
ORDER BY sentiment_score DESC, news_time, headline
LIMIT coalesce(getvariable('limit'), 20)
