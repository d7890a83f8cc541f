# What mini/make.sh and mini_open/make.sh share: splits, teachers, students, a table of their figures.
#
#   DATA     folder with phrasebank/, sentfin/ and tfns/
#   TEACHER  folder of the teachers' base, all-mpnet-base-v2 as safetensors
#
# Steps that are done are not done again. `work` holds what is made; ONLY=data ends after the splits.
data=${DATA:?set DATA to the folder with phrasebank/, sentfin/ and tfns/}
seeds=${SEEDS:-0 1 2 3 4}
mkdir -p "$work"

once() { # FILE COMMAND...: unless FILE is there
    if [ -e "$1" ]; then echo "done before: $1"; else shift; "$@"; fi
}

split() { # PHRASEBANK OTHERS SENTENCES: how many variations of a row of each
    once "$work/tutorial/split.json" finsent-batch prepare "$data/phrasebank/all-data.csv" \
        --recipe tutorial -o "$work/tutorial"
    held_out="--exclude $work/tutorial/test.parquet"

    # The four files are nested; the first that has a sentence tells how many annotators agreed on it.
    once "$work/phrasebank/split.json" finsent-batch prepare \
        "$data/phrasebank/Sentences_AllAgree.txt" "$data/phrasebank/Sentences_75Agree.txt" \
        "$data/phrasebank/Sentences_66Agree.txt" "$data/phrasebank/Sentences_50Agree.txt" \
        -o "$work/phrasebank" --test-size 0 $held_out --variations "$1"
    for part in train valid; do held_out="$held_out --exclude $work/phrasebank/$part.parquet"; done

    once "$work/sentfin/split.json" finsent-batch prepare "$data/sentfin/SEntFiN.csv" \
        -o "$work/sentfin" $held_out --variations "$2"
    for part in train valid test; do held_out="$held_out --exclude $work/sentfin/$part.parquet"; done

    once "$work/tfns/split.json" finsent-batch prepare "$data/tfns/train.csv" -o "$work/tfns" \
        --label-map 0=negative --label-map 1=positive --label-map 2=neutral $held_out --variations "$2"

    # The sentences that the package's grammar makes. None is held out: what they are worth shows on
    # real ones alone, and probabilities are calibrated on those.
    once "$work/sentences.csv" python -m finsent_batch.models.mini_open.sentences -o "$work/sentences.csv"
    once "$work/sentences/split.json" finsent-batch prepare "$work/sentences.csv" -o "$work/sentences" \
        --valid-size 0 --test-size 0 $held_out --variations "$3"
    [ "${ONLY:-}" != data ] || exit 0
}

transfer() { # FILE...: the headlines of these files, once each, are what the teachers answer
    once "$work/transfer.parquet" python - "$work/transfer.parquet" "$@" <<'EOF'
import os
import sys
import polars as pl
out, *files = sys.argv[1:]
frames = [pl.read_parquet(file, columns=["headline"]) for file in files]
pl.concat(frames).unique(maintain_order=True).write_parquet(f"{out}.part")
os.replace(f"{out}.part", out)  # a file that was cut short would pass for done
EOF
}

teach() { # OPTION...: a teacher of each of `teachers` seeds; `soft` names their answers
    base=${TEACHER:?set TEACHER to a folder with all-mpnet-base-v2 as safetensors}
    python - "$work/transfer.parquet" "$visits" "$teachers" "$seeds" <<'EOF'
import os
import sys
import polars as pl
import torch
rows, visits = pl.scan_parquet(sys.argv[1]).select(pl.len()).collect().item(), float(sys.argv[2])
teachers, students = (len(seeds.split()) for seeds in sys.argv[3:])
if not torch.cuda.is_available():
    # By what one core was seen to do a second; a teacher sees some 130,000 rows.
    seconds = teachers * (130_000 / 4 + rows / 25) + students * visits / 29
    days = seconds / 86_400 / len(os.sched_getaffinity(0))
    print(f"No CUDA GPU: this will take about {days:.1f} days here; on one H100 about an hour.")
EOF
    soft=""
    for seed in $teachers; do
        once "$work/teacher-$seed/finsent.json" finsent-batch train --preset encoder --base "$base" \
            "$@" --seed "$seed" -o "$work/teacher-$seed" --overwrite
        once "$work/teacher-$seed.parquet" finsent-batch --store "$work/teacher-$seed.duckdb" \
            score "$work/transfer.parquet" --model "$work/teacher-$seed" -o "$work/teacher-$seed.parquet"
        soft="$soft --soft-labels $work/teacher-$seed.parquet"
    done
}

learn() { # OPTION...: a student of each of `seeds`, and its figures on the tutorial's 900
    for seed in $seeds; do
        once "$work/student-$seed/finsent.json" finsent-batch train --preset mini $soft "$@" \
            --exclude "$work/tutorial/test.parquet" --drop-held-out \
            --per-device-train-batch-size 512 --learning-rate 1e-3 \
            --lora-r 128 --lora-alpha 128 --lora-dropout 0 --base-dropout 0 \
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
    student="$work/student-${seeds%% *}"
}
