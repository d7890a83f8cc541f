-- Rows that were set aside or could not be scored, latest first
-- columns: recorded_at, input, row_number, line_number, reason, content, run_id
-- param limit INTEGER: how many, default 20
SELECT recorded_at, input, row_number, line_number, reason, content, run_id
FROM quarantine
ORDER BY recorded_at DESC, input, line_number, row_number
LIMIT coalesce(CAST(getvariable('limit') AS BIGINT), 20)
