-- answers about headlines that were drawn for no review
SELECT count(*) FROM reviews ANTI JOIN review_samples USING (headline_key)
