-- scores of a run that is not in runs
SELECT count(*) FROM scores ANTI JOIN runs USING (run_id)
