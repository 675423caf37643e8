#!/usr/bin/env bash
# One card: training that starts from that model, or from MODEL.WEIGHTS, on other data.
cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec "${PYTHON:-python3}" test/recipe.py finetune 1 8 "$@"
