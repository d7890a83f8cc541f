-- What a run set aside, by reason, with the first place of each.
SELECT
    reason,
    count(*) AS rows,
    min_by(input, recorded_at) AS input,
    min(line_number) AS line,
    min(row_number) AS row
FROM quarantine
WHERE run_id = $run_id
GROUP BY reason
ORDER BY rows DESC, reason
