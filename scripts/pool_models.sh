#!/usr/bin/env bash
# Trains CHGNet on the pool of DFT labels, and compares models on its test sets:
#   scripts/pool_models.sh FOLDER [SETTINGS]
#
# In FOLDER: `up-to-200-k` to `up-to-800-k` from the training labels of runs up to that temperature
# (the paper's four rounds; the last are all), `ends` from those of Li3YCl6 and Li3YBr6 alone, and
# `scratch` from all with random weights at the start. What is there is not trained again. SETTINGS
# is YAML with fields of `learning.training`, e.g. from `lycb tune docs/dft_labels --model
# chgnet-0.3.0`. The errors on the test sets, with those of the models that none of the labels
# trained, are printed and kept in FOLDER/errors.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?"usage: scripts/pool_models.sh FOLDER [SETTINGS]"}
settings=${2:+--settings $2}
labels=docs/dft_labels
lycb=.venv/bin/lycb
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
mkdir -p "$folder"

models=(--model chgnet-0.3.0 --model sevennet-0)
train() { # NAME OPTIONS...
  local weights=$folder/$1.safetensors
  models+=(--model "$weights")
  [ -e "$weights" ] || "$lycb" train $labels --model chgnet-0.3.0 --by test_set --out "$weights" $settings "${@:2}"
}

for limit_k in 200 400 600 800; do train "up-to-$limit_k-k" --where "temperature_k<=$limit_k"; done
not_mixed=()
for system in 'Li3YCl4.5Br1.5 C2/m' 'Li3YCl3Br3 C2/m' 'Li3YCl3Br3 P-3m1' 'Li3YCl1.5Br4.5 C2/m'; do
  not_mixed+=(--where "system!=$system")
done
train ends "${not_mixed[@]}"
train scratch --from-scratch
COLUMNS=${COLUMNS:-160} "$lycb" bakeoff $labels --by test_set "${models[@]}" | tee "$folder/errors.txt"
