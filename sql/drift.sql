-- Population stability index of labels and confidence: recent news against a baseline window
-- columns: measure, bin, baseline, recent, baseline_share, recent_share, psi, total_psi
--     (measure is sentiment or confidence, in tenths; psi is the bin's part of total_psi: below
--     0.1 is alike, above 0.2 shifted; NULL where a window has no headlines; shares below
--     0.0001 count as 0.0001 in it. Source: Siddiqi 2006, Credit Risk Scorecards)
-- param until DATE: last day of the recent window, default the last day with news
-- param since DATE: its first day, default 6 days before its last
-- param baseline_until DATE: last day of the baseline, default the day before the recent window
-- param baseline_since DATE: its first day, default 27 days before its last
WITH ends AS (
    SELECT coalesce(CAST(getvariable('until') AS DATE), CAST(max(news_time) AS DATE)) AS until
    FROM scored_headlines
    WHERE sentiment IS NOT NULL
),
recents AS (
    SELECT until, coalesce(CAST(getvariable('since') AS DATE), until - 6) AS since FROM ends
),
baselines AS (
    SELECT *, coalesce(CAST(getvariable('baseline_until') AS DATE), since - 1) AS baseline_until
    FROM recents
),
windows AS (
    SELECT
        *, coalesce(CAST(getvariable('baseline_since') AS DATE), baseline_until - 27)
            AS baseline_since
    FROM baselines
),
counted AS (
    SELECT
        sentiment,
        least(CAST(floor(greatest(p_negative, p_neutral, p_positive) * CAST(10 AS FLOAT))
            AS BIGINT), 9) AS tenth,
        count(*) FILTER (CAST(news_time AS DATE) BETWEEN windows.baseline_since AND windows.baseline_until)
            AS baseline,
        count(*) FILTER (CAST(news_time AS DATE) BETWEEN windows.since AND windows.until) AS recent
    FROM scored_headlines, windows
    WHERE sentiment IS NOT NULL
    GROUP BY ALL
),
bins AS (
    SELECT 'sentiment' AS measure, unnest(['negative', 'neutral', 'positive']) AS bin
    UNION ALL
    SELECT 'confidence', printf('0.%d-%.1f', tenth, (tenth + 1) / 10)
    FROM (SELECT unnest(range(3, 10)) AS tenth)
),
sums AS (
    SELECT 'sentiment' AS measure, sentiment AS bin, baseline, recent FROM counted
    UNION ALL
    SELECT 'confidence', printf('0.%d-%.1f', tenth, (tenth + 1) / 10), baseline, recent
    FROM counted
),
shares AS (
    SELECT
        measure,
        bin,
        CAST(coalesce(sum(baseline), 0) AS BIGINT) AS baseline,
        CAST(coalesce(sum(recent), 0) AS BIGINT) AS recent,
        coalesce(sum(baseline), 0) / nullif(sum(sum(baseline)) OVER per, 0) AS b,
        coalesce(sum(recent), 0) / nullif(sum(sum(recent)) OVER per, 0) AS r
    FROM bins LEFT JOIN sums USING (measure, bin)
    GROUP BY measure, bin
    WINDOW per AS (PARTITION BY measure)
),
terms AS (
    SELECT
        *,
        CASE WHEN b IS NOT NULL AND r IS NOT NULL THEN
            (greatest(r, 0.0001) - greatest(b, 0.0001))
            * ln(greatest(r, 0.0001) / greatest(b, 0.0001)) END AS term
    FROM shares
)
SELECT
    measure,
    bin,
    baseline,
    recent,
    b AS baseline_share,
    r AS recent_share,
    term AS psi,
    sum(term) OVER (PARTITION BY measure) AS total_psi
FROM terms
ORDER BY measure DESC, bin
