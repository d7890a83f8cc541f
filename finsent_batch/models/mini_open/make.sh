#!/bin/sh
# Makes the model that may be used commercially: nothing of PhraseBank or Reuters is trained on.
#
#   DATA     folder with phrasebank/ (the tutorial's 900, to measure on), sentfin/ and tfns/
#   TEACHER  folder of the teachers' base, all-mpnet-base-v2 as safetensors
#
# Steps that are done are not done again: run it again after it was stopped. WORK holds what it
# makes; the student of the first of SEEDS replaces the files beside this script. ONLY=data ends
# after the splits; VARIATIONS is how many of each real row there are, OWN of each sentence.
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-runs/mini-open}
data=${DATA:?set DATA to the folder with phrasebank/, sentfin/ and tfns/}
many=${VARIATIONS:-20}
few=${OWN:-4}
teachers=${TEACHERS:-0 1 2 3 4 5}
seeds=${SEEDS:-0 1 2 3 4}
mkdir -p "$work"

once() { # FILE COMMAND...: unless FILE is there
    if [ -e "$1" ]; then echo "done before: $1"; else shift; "$@"; fi
}

once "$work/tutorial/split.json" finsent-batch prepare "$data/phrasebank/all-data.csv" \
    --recipe tutorial -o "$work/tutorial"
held_out="--exclude $work/tutorial/test.parquet"

once "$work/sentfin/split.json" finsent-batch prepare "$data/sentfin/SEntFiN.csv" \
    -o "$work/sentfin" $held_out --variations "$many"
for part in train valid test; do held_out="$held_out --exclude $work/sentfin/$part.parquet"; done

once "$work/tfns/split.json" finsent-batch prepare "$data/tfns/train.csv" -o "$work/tfns" \
    --label-map 0=negative --label-map 1=positive --label-map 2=neutral $held_out --variations "$many"
for part in train valid test; do held_out="$held_out --exclude $work/tfns/$part.parquet"; done

# The sentences that the package's grammar makes. None is held out: what they are worth shows on
# real ones alone, and probabilities are calibrated on those.
once "$work/sentences.csv" python -m finsent_batch.models.mini_open.sentences \
    -o "$work/sentences.csv"
once "$work/sentences/split.json" finsent-batch prepare "$work/sentences.csv" \
    -o "$work/sentences" --valid-size 0 --test-size 0 $held_out --variations "$few"

[ "${ONLY:-}" != data ] || exit 0
base=${TEACHER:?set TEACHER to a folder with all-mpnet-base-v2 as safetensors}
# The first folder is the one that the model is meant for: its classes weigh the same. The grammar
# writes both directions itself, so that no opposites are added, and the folder comes once.
folders="--data $work/sentences --data $work/sentfin --data $work/tfns"
folders="$folders --no-opposites --repeat-first 1"

# What the teachers answer: the training rows and their variations, and other sentences of the
# grammar, without the labels that it gives them.
once "$work/more.csv" python -m finsent_batch.models.mini_open.sentences --seed 1 --times 3 \
    -o "$work/more.csv"
once "$work/transfer.parquet" python - "$work" <<'EOP'
import sys
from pathlib import Path
import polars as pl
work = Path(sys.argv[1])
frames = [pl.read_parquet(work / name / f"{kind}.parquet", columns=["headline"])
          for kind in ("train", "variations") for name in ("sentences", "sentfin", "tfns")]
frames.append(pl.read_csv(work / "more.csv").select(headline="text"))
pl.concat(frames).unique(maintain_order=True).write_parquet(work / "transfer.parquet")
EOP

soft=""
for seed in $teachers; do
    once "$work/teacher-$seed/finsent.json" finsent-batch train --preset encoder --base "$base" \
        $folders --seed "$seed" -o "$work/teacher-$seed" --overwrite
    once "$work/teacher-$seed.parquet" finsent-batch --store "$work/teacher-$seed.duckdb" \
        score "$work/transfer.parquet" --model "$work/teacher-$seed" -o "$work/teacher-$seed.parquet"
    soft="$soft --soft-labels $work/teacher-$seed.parquet"
done

for seed in $seeds; do
    once "$work/student-$seed/finsent.json" finsent-batch train --preset mini $folders $soft \
        --exclude "$work/tutorial/test.parquet" --drop-held-out \
        --soft-neutral-share 0.3 --repeat-labelled 1 --num-train-epochs 8 \
        --per-device-train-batch-size 512 --learning-rate 8e-4 \
        --lora-r 128 --lora-alpha 128 --lora-dropout 0 \
        --seed "$seed" -o "$work/student-$seed" --overwrite
    once "$work/evaluation-$seed/metrics.json" finsent-batch --store "$work/evaluation.duckdb" \
        evaluate --model "$work/student-$seed" --data "$work/tutorial/test.parquet" \
        -o "$work/evaluation-$seed"
done

python - "$work" $seeds <<'EOP'
import json
import statistics
import sys
from pathlib import Path
work, seeds = Path(sys.argv[1]), sys.argv[2:]
parts: dict[str, list[float]] = {}
for seed in seeds:
    found = json.loads((work / f"student-{seed}" / "finsent.json").read_text())["metrics"]
    found["the tutorial's 900"] = json.loads((work / f"evaluation-{seed}" / "metrics.json").read_text())
    for part, metrics in found.items():
        if not part.startswith("evaluate/"):
            parts.setdefault(part, []).append(metrics["accuracy"])
for part, values in parts.items():
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    print(f"{part:20} mean {statistics.mean(values):.4f}  standard deviation {spread:.4f}  "
          + " ".join(f"{value:.4f}" for value in values))
EOP

student="$work/student-${seeds%% *}"
for file in adapter_config.json adapter_model.safetensors finsent.json; do
    cp "$student/$file" "$here/$file"
done
{ # The card, with what training cannot know: the licence and what the sentences are.
    printf -- '---\nlicense: mit\n'
    tail -n +2 "$student/README.md"
    cat <<'EOP'

## What it may be used for

Commercial use included: the weights are under this project's licence (MIT). It was trained on
SEntFiN 1.0 and Twitter Financial News Sentiment (MIT) and on `sentences`, which a grammar of this
project writes (`finsent_batch/models/mini_open/sentences.py`); names and figures in them are invented.

The sentences are made to resemble the company news of FinancialPhraseBank. No row of it was trained
on or copied; which kinds of sentences the grammar lacked was found by accuracy on PhraseBank's
training rows. The tutorial's 900 test rows took no part in that.
EOP
} > "$here/README.md"
