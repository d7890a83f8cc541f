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
teachers=${TEACHERS:-0 1 2 3 4 5}
. "$here/distil.sh"
feed=${FEED:-$data/feeds/reuters_2013.parquet}
many=${VARIATIONS:-100}
split "$many" "$((many * 4 / 25))" "$((many / 25))"

real="--data $work/phrasebank --data $work/sentfin --data $work/tfns"
set --
for name in phrasebank sentfin tfns sentences; do
    set -- "$@" "$work/$name/train.parquet" "$work/$name/variations.parquet"
done
transfer "$feed" "$@"

visits=4300000 # rows that a student sees
# Chosen on the validation rows alone; docs/benchmarks.md says what else was tried.
teach $real --data "$work/sentences" --num-train-epochs 2
learn $real --soft-neutral-share 0.35 --repeat-labelled 3 --num-train-epochs 4

for file in adapter_config.json adapter_model.safetensors finsent.json README.md; do
    cp "$student/$file" "$here/$file"
done
cat >> "$here/README.md" <<'EOF'

## The texts of the soft labels

Headlines of Reuters in 2013 (research use only), sentences that a grammar of this project writes, and
variations of these sentences and of the training rows; none of them is in this directory.
EOF

# How probabilities say whether a label is right, for the estimated accuracy of a night.
python "$here/../../../benchmarks/night_gates.py" "$data" --only estimate --model mini --calibrate "$here"
