-- scores of a model that is not in models
SELECT count(*) FROM scores ANTI JOIN models USING (model_fingerprint)
