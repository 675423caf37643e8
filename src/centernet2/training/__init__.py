"""Training: one loop, callables around it."""
