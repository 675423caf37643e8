"""Run the command `predict`, in one process or on a cluster."""
