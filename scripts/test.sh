#!/usr/bin/env bash
# Install into .venv and run every check: lint, types, tests. Needs Python 3.11 or newer and pip.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
. .venv/bin/activate
pip install --quiet -c constraints.txt torch
pip install --quiet -c constraints.txt -e '.[dev]'
ruff check .
ruff format --check .
pyright
# Workers share the cores: one thread each.
OMP_NUM_THREADS=1 python -m pytest -n auto "$@"
