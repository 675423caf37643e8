#!/usr/bin/env bash
# One card, speed: 801 iterations.
cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec "${PYTHON:-python3}" test/recipe.py performance 1 8 "$@"
