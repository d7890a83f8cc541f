-- Draws from plan.population: a systematic sample with probabilities in proportion to $1 times
-- the size of a row, in units of 1e-12, the rows in the order of their strata.
-- $2 is where the first falls, in the same units; $3 is the seed, as text.
WITH sized AS (
    SELECT
        *,
        CAST(least(1, $1 * sqrt(sure * (1 - sure))) * 1000000000000 AS BIGINT) AS chance,
        md5(CAST(headline_key AS VARCHAR) || $3) AS shuffled
    FROM (SELECT *, round(least(CAST(confidence AS DOUBLE), 0.95), 2) AS sure FROM plan.population)
),
placed AS (
    SELECT
        *,
        CAST(sum(chance) OVER (
            ORDER BY month, source, sentiment, floor(confidence * 10), shuffled
            ROWS UNBOUNDED PRECEDING
        ) AS BIGINT) + 1000000000000 - $2 AS reach
    FROM sized
)
SELECT
    headline_key,
    headline,
    model_fingerprint,
    sentiment,
    confidence,
    source,
    month,
    1000000000000 / chance AS weight
FROM placed
WHERE reach // 1000000000000 > (reach - chance) // 1000000000000
ORDER BY md5(shuffled)
