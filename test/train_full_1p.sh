#!/usr/bin/env bash
# One card, accuracy: the whole schedule, then evaluation.
cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec "${PYTHON:-python3}" test/recipe.py full 1 8 "$@"
