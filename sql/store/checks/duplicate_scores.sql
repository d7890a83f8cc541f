-- headline and model pairs scored more than once
SELECT count(*)
FROM (SELECT 1 FROM scores GROUP BY headline_key, model_fingerprint HAVING count(*) > 1)
