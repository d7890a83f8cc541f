-- How many published rows have each label, and how sure the model was
-- columns: sentiment, rows, share, mean_confidence (sentiment is NULL for rows not scored)
SELECT
    sentiment,
    count(*) AS rows,
    round(count(*) / sum(count(*)) OVER (), 4) AS share,
    round(avg(greatest(p_negative, p_neutral, p_positive)), 4) AS mean_confidence
FROM scored_headlines
GROUP BY sentiment
ORDER BY rows DESC, sentiment
