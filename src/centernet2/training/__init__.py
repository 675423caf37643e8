"""Training: the loop, its callbacks, the optimizer and the state of a training run."""
