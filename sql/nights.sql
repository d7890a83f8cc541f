-- Nights, latest first: what each run found before it published, and whether it was held back
-- columns: night, status, rows, alarms, unusual, estimated_accuracy, estimated_accuracy_low,
--     estimated_accuracy_high, labelled_share, dated_share, unseen_share, distinct_share,
--     truncated_share, not_english_share, negative_share, neutral_share, positive_share, mean_score,
--     mean_confidence, psi_labels, psi_confidence, js_labels, js_confidence, volume_ratio,
--     age_hours, mean_length, letter_share, sources, missing_sources, largest_source_move,
--     columns_added, columns_missing, columns_retyped, reason, feed, model_fingerprint, run_id
--     (a row a night and feed: what was judged last; the figures are described under Gates)
-- param limit INTEGER: how many nights, default 30
-- param feed VARCHAR: of this feed alone, as the column feed names it, default all
SELECT
    night,
    status,
    CAST(figures->>'rows' AS BIGINT) AS rows,
    CAST(figures->>'alarms' AS BIGINT) AS alarms,
    array_to_string(CAST(json_extract(details, '$.unusual') AS VARCHAR[]), ', ') AS unusual,
    CAST(figures->>'estimated_accuracy' AS DOUBLE) AS estimated_accuracy,
    CAST(figures->>'estimated_accuracy_low' AS DOUBLE) AS estimated_accuracy_low,
    CAST(figures->>'estimated_accuracy_high' AS DOUBLE) AS estimated_accuracy_high,
    CAST(figures->>'labelled_share' AS DOUBLE) AS labelled_share,
    CAST(figures->>'dated_share' AS DOUBLE) AS dated_share,
    CAST(figures->>'unseen_share' AS DOUBLE) AS unseen_share,
    CAST(figures->>'distinct_share' AS DOUBLE) AS distinct_share,
    CAST(figures->>'truncated_share' AS DOUBLE) AS truncated_share,
    CAST(figures->>'not_english_share' AS DOUBLE) AS not_english_share,
    CAST(figures->>'negative_share' AS DOUBLE) AS negative_share,
    CAST(figures->>'neutral_share' AS DOUBLE) AS neutral_share,
    CAST(figures->>'positive_share' AS DOUBLE) AS positive_share,
    CAST(figures->>'mean_score' AS DOUBLE) AS mean_score,
    CAST(figures->>'mean_confidence' AS DOUBLE) AS mean_confidence,
    CAST(figures->>'psi_labels' AS DOUBLE) AS psi_labels,
    CAST(figures->>'psi_confidence' AS DOUBLE) AS psi_confidence,
    CAST(figures->>'js_labels' AS DOUBLE) AS js_labels,
    CAST(figures->>'js_confidence' AS DOUBLE) AS js_confidence,
    CAST(figures->>'volume_ratio' AS DOUBLE) AS volume_ratio,
    CAST(figures->>'age_hours' AS DOUBLE) AS age_hours,
    CAST(figures->>'mean_length' AS DOUBLE) AS mean_length,
    CAST(figures->>'letter_share' AS DOUBLE) AS letter_share,
    CAST(figures->>'sources' AS BIGINT) AS sources,
    CAST(figures->>'missing_sources' AS BIGINT) AS missing_sources,
    CAST(figures->>'largest_source_move' AS DOUBLE) AS largest_source_move,
    CAST(figures->>'columns_added' AS BIGINT) AS columns_added,
    CAST(figures->>'columns_missing' AS BIGINT) AS columns_missing,
    CAST(figures->>'columns_retyped' AS BIGINT) AS columns_retyped,
    reason,
    feed,
    model_fingerprint,
    run_id
FROM nights
WHERE coalesce(feed = CAST(getvariable('feed') AS VARCHAR), true)
QUALIFY row_number() OVER (PARTITION BY night, feed ORDER BY recorded_at DESC) = 1
ORDER BY night DESC, recorded_at DESC
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 30)
