"""The main jobs from settings to results: build or load a model, train it, evaluate it."""
