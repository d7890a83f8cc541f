-- Reliability of the probabilities: confidence against accuracy, by evaluated model and data
-- columns: model, data, bin_low, bin_high, headlines, confidence, accuracy, gap, ece,
--     model_fingerprint
--     (ece is the expected calibration error of all bins together; bins without headlines have
--     no row. Source: Guo et al. 2017)
-- param bins INTEGER: how many bins of equal width, from 1 to 1000, default 15
-- param model VARCHAR: name or fingerprint of one model, default all
-- param data VARCHAR: path of one data file, default all
WITH answered AS (
    SELECT
        model,
        model_fingerprint,
        data,
        bins,
        greatest(p_negative, p_neutral, p_positive) AS confidence,
        CAST(sentiment = label AS INTEGER) AS correct
    FROM evaluated_headlines,
        (SELECT coalesce(CAST(getvariable('bins') AS INTEGER), 15) AS bins) AS chosen
    WHERE sentiment IS NOT NULL
        AND coalesce(CAST(getvariable('model') AS VARCHAR), model) IN (model, model_fingerprint)
        AND data = coalesce(CAST(getvariable('data') AS VARCHAR), data)
),
binned AS (
    SELECT
        model,
        model_fingerprint,
        data,
        bins,
        greatest(ceil(confidence * CAST(bins AS FLOAT)) - 1, 0) AS bin,
        count(*) AS headlines,
        avg(confidence) AS confidence,
        avg(correct) AS accuracy
    FROM answered
    GROUP BY ALL
)
SELECT
    model,
    data,
    round(bin / bins, 4) AS bin_low,
    round((bin + 1) / bins, 4) AS bin_high,
    headlines,
    confidence,
    accuracy,
    accuracy - confidence AS gap,
    sum(headlines * abs(accuracy - confidence)) OVER evaluation
        / sum(headlines) OVER evaluation AS ece,
    model_fingerprint
FROM binned
WINDOW evaluation AS (PARTITION BY model, model_fingerprint, data)
ORDER BY model, model_fingerprint, data, bin
