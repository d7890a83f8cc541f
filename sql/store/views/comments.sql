-- What each view is, and each of its columns: the store keeps both, and a shell shows them.

COMMENT ON VIEW scored_headlines IS
    'Published rows: of each input the latest output, with all its columns';
COMMENT ON COLUMN scored_headlines.sentiment IS
    'positive, neutral, negative; NULL where not scored';
COMMENT ON COLUMN scored_headlines.sentiment_score IS 'P(positive) - P(negative), -1 to 1';
COMMENT ON COLUMN scored_headlines.p_negative IS 'calibrated probability';
COMMENT ON COLUMN scored_headlines.p_neutral IS 'calibrated probability';
COMMENT ON COLUMN scored_headlines.p_positive IS 'calibrated probability';
COMMENT ON COLUMN scored_headlines.model_fingerprint IS
    'which weights, adapter, tokenizer and arithmetic gave it';
COMMENT ON COLUMN scored_headlines.run_id IS 'the run that computed the score';
COMMENT ON COLUMN scored_headlines.scored_at IS 'when it was computed, UTC';
COMMENT ON COLUMN scored_headlines.score_status IS 'scored, truncated, empty or invalid';
COMMENT ON COLUMN scored_headlines.news_time IS
    'when the news is of, UTC, from the column that was settled when it was scored; scored_at where there is none; NULL where it cannot be read surely';
COMMENT ON COLUMN scored_headlines.news_text IS 'the text that was scored';

COMMENT ON VIEW daily_sentiment IS 'Published news by day; SET VARIABLE since and until narrow it';
COMMENT ON COLUMN daily_sentiment.day IS
    'UTC; NULL for the rows whose time cannot be read';
COMMENT ON COLUMN daily_sentiment.headlines IS 'rows with a label';
COMMENT ON COLUMN daily_sentiment.mean_score IS 'mean sentiment_score';
COMMENT ON COLUMN daily_sentiment.positive_share IS 'share of the rows';
COMMENT ON COLUMN daily_sentiment.neutral_share IS 'share of the rows';
COMMENT ON COLUMN daily_sentiment.negative_share IS 'share of the rows';

COMMENT ON VIEW headline_scores IS 'Each distinct headline once a model that scored it';
COMMENT ON COLUMN headline_scores.sentiment IS 'positive, neutral, negative; NULL where not scored';
COMMENT ON COLUMN headline_scores.sentiment_score IS 'P(positive) - P(negative), -1 to 1';
COMMENT ON COLUMN headline_scores.p_negative IS 'calibrated probability';
COMMENT ON COLUMN headline_scores.p_neutral IS 'calibrated probability';
COMMENT ON COLUMN headline_scores.p_positive IS 'calibrated probability';
COMMENT ON COLUMN headline_scores.model_fingerprint IS
    'which weights, adapter, tokenizer and arithmetic gave it';
COMMENT ON COLUMN headline_scores.run_id IS 'the run that computed the score';
COMMENT ON COLUMN headline_scores.scored_at IS 'when it was computed, UTC';
COMMENT ON COLUMN headline_scores.headline_key IS '128 bits of SHA-256 over the normal form';
COMMENT ON COLUMN headline_scores.headline IS
    'the text as it was scored; NULL with --no-store-text';
COMMENT ON COLUMN headline_scores.confidence IS 'probability of the label';
COMMENT ON COLUMN headline_scores.truncated IS 'whether only its beginning was scored';
COMMENT ON COLUMN headline_scores.model IS 'the model''s name when it was first used';

COMMENT ON VIEW evaluated_headlines IS
    'Labelled headlines with the predictions of finsent-batch evaluate';
COMMENT ON COLUMN evaluated_headlines.p_negative IS 'calibrated probability';
COMMENT ON COLUMN evaluated_headlines.p_neutral IS 'calibrated probability';
COMMENT ON COLUMN evaluated_headlines.p_positive IS 'calibrated probability';
COMMENT ON COLUMN evaluated_headlines.evaluated_at IS 'UTC';
COMMENT ON COLUMN evaluated_headlines.model IS 'as it was named';
COMMENT ON COLUMN evaluated_headlines.model_fingerprint IS
    'which weights, adapter, tokenizer and arithmetic gave it';
COMMENT ON COLUMN evaluated_headlines.data IS 'path of the labelled file';
COMMENT ON COLUMN evaluated_headlines.headline IS 'as in the labelled file';
COMMENT ON COLUMN evaluated_headlines.label IS 'the true label';
COMMENT ON COLUMN evaluated_headlines.sentiment IS 'the predicted label; NULL without a prediction';
