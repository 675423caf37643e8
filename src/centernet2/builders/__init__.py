"""Build objects from a config: models, data, optimizers, training runs."""
