-- How sure the model was: published headlines by the probability of their label
-- columns: bin_low, bin_high, headlines, share, negative, neutral, positive
--     (bins of equal width over 0 to 1, empty ones too; the last includes 1)
-- param bins INTEGER: how many bins, from 1 to 1000, default 20
WITH scored AS (
    SELECT
        sentiment,
        least(
            CAST(
                floor(greatest(p_negative, p_neutral, p_positive) * CAST(chosen.bins AS FLOAT))
                AS BIGINT
            ),
            chosen.bins - 1
        ) AS bin
    FROM scored_headlines,
        (SELECT coalesce(CAST(getvariable('bins') AS INTEGER), 20) AS bins) AS chosen
    WHERE sentiment IS NOT NULL
),
counted AS (
    SELECT
        bin,
        count(*) AS headlines,
        count(*) FILTER (sentiment = 'negative') AS negative,
        count(*) FILTER (sentiment = 'neutral') AS neutral,
        count(*) FILTER (sentiment = 'positive') AS positive
    FROM scored
    GROUP BY bin
)
SELECT
    round(bin / bins, 4) AS bin_low,
    round((bin + 1) / bins, 4) AS bin_high,
    coalesce(headlines, 0) AS headlines,
    coalesce(headlines, 0) / nullif(sum(headlines) OVER (), 0) AS share,
    coalesce(negative, 0) AS negative,
    coalesce(neutral, 0) AS neutral,
    coalesce(positive, 0) AS positive
FROM (
    SELECT unnest(range(bins)) AS bin, bins
    FROM (SELECT coalesce(CAST(getvariable('bins') AS INTEGER), 20) AS bins)
)
LEFT JOIN counted USING (bin)
ORDER BY bin
