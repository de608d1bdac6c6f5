#!/usr/bin/env bash
# Build wheel and sdist in a temporary folder, check them, install each into a fresh environment, and
# use what is installed. `PYTHON=python3.12 bash scripts/smoke.sh` tries another version of Python.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
bin="$home/venv/bin"

"${PYTHON:-python3}" -m venv "$home/venv"
"$bin/pip" install --quiet build twine
"$bin/python" -m build --outdir "$home/dist" . > /dev/null
"$bin/twine" check --strict "$home"/dist/*
"$bin/pip" install --quiet -c constraints.txt torch

for file in "$home"/dist/*.whl "$home"/dist/*.tar.gz; do
  "$bin/pip" install --quiet -c constraints.txt "$file"
  "$bin/pip" check
  (
    cd "$home"
    "$bin/python" -c "import narrows; assert narrows.__file__.startswith('$home/venv')"
    "$bin/narrows" run --methods cross_entropy,vib --betas 0.1 --seeds 1 --epochs 1 --eps 0.1 \
      --set evaluate.attack_images=20 --set evaluate.information_samples=50 --out runs --quiet
    "$bin/narrows" runs runs --verify
    "$bin/narrows" export runs/digits-* --method vib --formats safetensors,torch --out model
    rm -r runs model
  )
  "$bin/pip" uninstall --quiet --yes narrows
  echo "$(basename "$file") works"
done
