#!/bin/sh
# Makes the model that may be used commercially: nothing of PhraseBank or Reuters is trained on.
#
#   DATA     folder with phrasebank/ (of which no row is trained on: the tutorial's 900 are measured,
#            and no other row may repeat one of it), sentfin/ and tfns/
#   TEACHER  folder of the teachers' base, all-mpnet-base-v2 as safetensors
#
# Steps that are done are not done again: run it again after it was stopped. WORK holds what it
# makes; the student of the first of SEEDS replaces the files beside this script. ONLY=data ends
# after the splits; VARIATIONS is how many of each real row there are.
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-runs/mini-open}
teachers=${TEACHERS:-0 1 2 3}
. "$here/../mini/distil.sh"
many=${VARIATIONS:-16}
split 1 "$many" "$((many / 4))"

# The first folder is the one that the model is meant for: its classes weigh the same.
folders="--data $work/sentences --data $work/sentfin --data $work/tfns"
set --
for name in sentences sentfin tfns; do
    set -- "$@" "$work/$name/train.parquet" "$work/$name/variations.parquet"
done
transfer "$@"

visits=3700000 # rows that a student sees
# The grammar writes both directions itself: no opposites are added, and the folder comes once.
teach $folders --no-opposites --repeat-first 1 --num-train-epochs 2
learn $folders --soft-weight 1 --soft-neutral-share 0.5 --num-train-epochs 8

for file in adapter_config.json adapter_model.safetensors finsent.json; do
    cp "$student/$file" "$here/$file"
done
{ # The card, with what training cannot know: the licence and what the sentences are.
    printf -- '---\nlicense: mit\n'
    tail -n +2 "$student/README.md"
    cat "$here/use.md"
} > "$here/README.md"

# How probabilities say whether a label is right, for the estimated accuracy of a night.
python "$here/../../../benchmarks/night_gates.py" "$data" --only estimate --model mini-open --calibrate "$here"
