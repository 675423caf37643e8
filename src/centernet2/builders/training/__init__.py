"""Plan a training run, set it up, take it to its end, and repeat it."""
