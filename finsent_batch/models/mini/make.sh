#!/bin/sh
# Makes the embedded model by distillation: data, teachers, their answers, students, evaluation.
#
#   DATA     folder with phrasebank/, sentfin/ and tfns/
#   FEED     Parquet file of headlines without labels (default: DATA/feeds/reuters_2013.parquet)
#   TEACHER  folder of the teachers' base, all-mpnet-base-v2 as safetensors
#
# Steps that are done are not done again: run it again after it was stopped. WORK holds what it
# makes; the student of the first of SEEDS replaces the files beside this script. ONLY=data ends
# after the splits; VARIATIONS is how many of each PhraseBank row there are.
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-runs/mini}
data=${DATA:?set DATA to the folder with phrasebank/, sentfin/ and tfns/}
feed=${FEED:-$data/feeds/reuters_2013.parquet}
many=${VARIATIONS:-40}
few=$((many / 5))
teachers=${TEACHERS:-0 1 2 3 4 5}
seeds=${SEEDS:-0 1 2 3 4}
mkdir -p "$work"

once() { # FILE COMMAND...: unless FILE is there
    if [ -e "$1" ]; then echo "done before: $1"; else shift; "$@"; fi
}

once "$work/tutorial/split.json" finsent-batch prepare "$data/phrasebank/all-data.csv" \
    --recipe tutorial -o "$work/tutorial"
held_out="--exclude $work/tutorial/test.parquet"

# The four files are nested; the first that has a sentence tells how many annotators agreed on it.
once "$work/phrasebank/split.json" finsent-batch prepare \
    "$data/phrasebank/Sentences_AllAgree.txt" "$data/phrasebank/Sentences_75Agree.txt" \
    "$data/phrasebank/Sentences_66Agree.txt" "$data/phrasebank/Sentences_50Agree.txt" \
    -o "$work/phrasebank" --test-size 0 $held_out --variations "$many"
for part in train valid; do held_out="$held_out --exclude $work/phrasebank/$part.parquet"; done

once "$work/sentfin/split.json" finsent-batch prepare "$data/sentfin/SEntFiN.csv" \
    -o "$work/sentfin" $held_out --variations "$few"
for part in train valid test; do held_out="$held_out --exclude $work/sentfin/$part.parquet"; done

once "$work/tfns/split.json" finsent-batch prepare "$data/tfns/train.csv" -o "$work/tfns" \
    --label-map 0=negative --label-map 1=positive --label-map 2=neutral $held_out --variations "$few"

[ "${ONLY:-}" != data ] || exit 0
base=${TEACHER:?set TEACHER to a folder with all-mpnet-base-v2 as safetensors}

# Row-visits of a teacher and a student, by what one core and one H100 were seen to do a second.
python - <<'EOF'
import os
import torch
if not torch.cuda.is_available():
    hours = (6 * (75_000 / 4 + 1e6 / 25) + 5 * 5.8e6 / 29) / 3600 / len(os.sched_getaffinity(0))
    print(f"No CUDA GPU: this will take about {hours / 24:.0f} days here; on one H100 about an hour.")
EOF

folders="--data $work/phrasebank --data $work/sentfin --data $work/tfns"

# What the teachers answer: the feed, the training rows and their variations.
once "$work/transfer.parquet" python - "$work" "$feed" <<'EOF'
import sys
from pathlib import Path
import polars as pl
work, feed = Path(sys.argv[1]), Path(sys.argv[2])
parts = [work / name / f"{kind}.parquet"
         for kind in ("train", "variations") for name in ("phrasebank", "sentfin", "tfns")]
frames = [pl.read_parquet(file, columns=["headline"]) for file in (feed, *parts)]
pl.concat(frames).unique(maintain_order=True).write_parquet(work / "transfer.parquet")
EOF

soft=""
for seed in $teachers; do
    once "$work/teacher-$seed/finsent.json" finsent-batch train --preset encoder --base "$base" \
        $folders --seed "$seed" -o "$work/teacher-$seed" --overwrite
    once "$work/teacher-$seed.parquet" finsent-batch --store "$work/teacher-$seed.duckdb" \
        score "$work/transfer.parquet" --model "$work/teacher-$seed" -o "$work/teacher-$seed.parquet"
    soft="$soft --soft-labels $work/teacher-$seed.parquet"
done

# Chosen on the validation rows alone; docs/models.md says what else was tried.
for seed in $seeds; do
    once "$work/student-$seed/finsent.json" finsent-batch train --preset mini $folders $soft \
        --exclude "$work/tutorial/test.parquet" --drop-held-out \
        --soft-neutral-share 0.1 --repeat-labelled 3 --num-train-epochs 11 \
        --per-device-train-batch-size 512 --learning-rate 8e-4 \
        --lora-r 128 --lora-alpha 128 --lora-dropout 0 \
        --seed "$seed" -o "$work/student-$seed" --overwrite
    once "$work/evaluation-$seed/metrics.json" finsent-batch --store "$work/evaluation.duckdb" \
        evaluate --model "$work/student-$seed" --data "$work/tutorial/test.parquet" \
        -o "$work/evaluation-$seed"
done

python - "$work" $seeds <<'EOF'
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
EOF

for file in adapter_config.json adapter_model.safetensors finsent.json README.md; do
    cp "$work/student-${seeds%% *}/$file" "$here/$file"
done
