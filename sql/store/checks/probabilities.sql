-- scores whose probabilities do not sum to 1
SELECT count(*)
FROM scores
WHERE NOT coalesce(abs(p_negative + p_neutral + p_positive - 1) < 1e-3, false)
