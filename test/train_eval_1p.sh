#!/usr/bin/env bash
# One card: evaluation of result/CenterNet2/CenterNet2_R50_1x/model_final.pth, or of MODEL.WEIGHTS.
cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec "${PYTHON:-python3}" test/recipe.py eval 1 8 "$@"
