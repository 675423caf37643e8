#!/usr/bin/env bash
# Eight cards, accuracy: 70,000 iterations, then evaluation.
cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec "${PYTHON:-python3}" test/recipe.py full 8 64 "$@"
