#!/usr/bin/env bash
# Train on the digits with two ranks, log to three backends, show what came of it. Arguments go to digits_ddp.py.
#   make demo                  or: ./examples/demo.sh --epochs 20
# Everything lands in ./demo-out (DEMO_OUT=elsewhere moves it); a second call starts afresh.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v asynclog > /dev/null || PATH=$PWD/.venv/bin:$PATH
out=${DEMO_OUT:-demo-out}
run=$out/digits/demo
export OMP_NUM_THREADS=1 # what torchrun would choose, without its warning
export MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
unset MLFLOW_TRACKING_URI MLFLOW_EXPERIMENT_NAME # everything in one place

say() { if [ -t 1 ]; then printf '\n\033[1m== %s\033[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi; }

rm -rf "$run"
mkdir -p "$out"

say "1/3  training on two ranks; asynclog's daemon beside them writes TensorBoard, CSV and MLflow"
asynclog run --dir "$out" --name demo --backend tensorboard --backend csv --backend mlflow -- \
  torchrun --nproc-per-node 2 examples/digits_ddp.py "$@"

say "2/3  the last values, mean over ranks where nothing else was asked for"
python examples/final_metrics.py "$run"

say "3/3  the loss curve, with the band over ranks"
python examples/plot_loss.py "$run" --out "$out/loss.png"
echo "$out/loss.png"

say "look further"
cat <<END
  source .venv/bin/activate   # the commands live there
  tensorboard --logdir $run/tensorboard
  mlflow ui --backend-store-uri sqlite:///$run/mlflow/mlflow.db
  less -S $run/csv/metrics.csv
  asynclog runs $out     # every run below a directory
  asynclog show $run     # one of them: last values, extremes, sparklines, ledger
  asynclog status        # while a run is going on
END
