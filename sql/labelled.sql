-- Published rows with their label and probabilities, in time order
-- columns: news_time, headline, sentiment, p_negative, p_neutral, p_positive, score_status
-- param limit INTEGER: how many, default 20
SELECT news_time, news_text AS headline, sentiment, p_negative, p_neutral, p_positive, score_status
FROM scored_headlines
ORDER BY news_time, headline
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
