"""Training: loop, callbacks, optimizer, state of a training run."""
