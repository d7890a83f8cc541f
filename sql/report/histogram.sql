-- Labelled rows of some days by the bin of their confidence or sentiment score; bins begin at the
-- edges, and the last edge belongs to the last bin.
SELECT least(len(list_filter($edges::DOUBLE[], lambda edge: value >= edge)), len($edges) - 1) - 1 AS bin,
    count(*) AS rows
FROM (
    SELECT CASE $figure WHEN 'confidence' THEN greatest(p_negative, p_neutral, p_positive)
        ELSE sentiment_score END AS value
    FROM scored_headlines WHERE sentiment IS NOT NULL)
GROUP BY bin
