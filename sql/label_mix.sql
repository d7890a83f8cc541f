-- How many published rows have each label, and how sure the model was
-- columns: sentiment, rows, share, mean_confidence (sentiment is NULL for rows not scored)
SELECT
    sentiment,
    count(*) AS rows,
    count(*) / sum(count(*)) OVER () AS share,
    avg(greatest(p_negative, p_neutral, p_positive)) AS mean_confidence
FROM scored_headlines
GROUP BY sentiment
ORDER BY rows DESC, sentiment
