"""Build detectors from a config, and load weights into them."""
