#!/bin/sh
# Makes the embedded model: PhraseBank without the tutorial's 900 test rows, SEntFiN and TFNS.
# DATA is a folder with phrasebank/, sentfin/ and tfns/; the result replaces the files beside this.
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-runs/mini}
data=${DATA:?set DATA to the folder with phrasebank/, sentfin/ and tfns/}
tweets=0=negative\ 1=positive\ 2=neutral
mkdir -p "$work"

finsent-batch prepare "$data/phrasebank/all-data.csv" --recipe tutorial -o "$work/tutorial" --overwrite
held_out="--exclude $work/tutorial/test.parquet"

# The four files are nested; the first that has a sentence tells how many annotators agreed on it.
finsent-batch prepare "$data/phrasebank/Sentences_AllAgree.txt" \
    "$data/phrasebank/Sentences_75Agree.txt" "$data/phrasebank/Sentences_66Agree.txt" \
    "$data/phrasebank/Sentences_50Agree.txt" -o "$work/phrasebank" \
    --test-size 0 $held_out --overwrite
for part in train valid; do held_out="$held_out --exclude $work/phrasebank/$part.parquet"; done

finsent-batch prepare "$data/sentfin/SEntFiN.csv" -o "$work/sentfin" $held_out --overwrite
for part in train valid test; do held_out="$held_out --exclude $work/sentfin/$part.parquet"; done

set --
for pair in $tweets; do set -- "$@" --label-map "$pair"; done
finsent-batch prepare "$data/tfns/train.csv" -o "$work/tfns" "$@" $held_out --overwrite

# One thread: more of them would add in another order and give other low bits.
finsent-batch train --preset mini --threads 1 -o "$work/model" --overwrite \
    --data "$work/phrasebank" --data "$work/sentfin" --data "$work/tfns"

for file in adapter_config.json adapter_model.safetensors finsent.json README.md; do
    cp "$work/model/$file" "$here/$file"
done
finsent-batch evaluate --data "$work/tutorial/test.parquet" -o "$work/evaluation/tutorial-900"
