-- The last nights of a feed, oldest first: what was judged last of each. $1 is the feed, $2 how many.
SELECT * FROM (
    SELECT
        night,
        nights.status AS status,
        reason,
        nights.run_id AS run_id,
        nights.model_fingerprint AS model_fingerprint,
        figures,
        json_extract(details, '$.unusual') AS unusual,
        json_extract(summary, '$.night') AS compared
    FROM nights
    LEFT JOIN runs ON runs.run_id = nights.run_id
    WHERE feed = $1
    QUALIFY row_number() OVER (PARTITION BY night ORDER BY recorded_at DESC) = 1
    ORDER BY night DESC
    LIMIT $2
)
ORDER BY night
