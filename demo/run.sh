#!/bin/sh
# The main job on the thirty headlines beside this file, with the embedded model.
set -e
cd "$(dirname "$0")/.."
mkdir -p runs
export FINSENT_STORE=runs/demo.duckdb

say() { printf '\n$ %s\n' "$*"; "$@"; }

say finsent-batch score demo/headlines.csv -o runs/demo.parquet
say finsent-batch query labelled --from runs/demo.parquet --param limit=30 --format table
say finsent-batch query daily_sentiment --from runs/demo.parquet --format table
printf '\nThe labelled rows are in runs/demo.parquet, the scores in %s.\n' "$FINSENT_STORE"
printf 'Yours: finsent-batch score YOUR.csv (the command is in .venv/bin)\n'
