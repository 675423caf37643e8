"""Evaluate detectors, exported files and stored detections on a data set."""
