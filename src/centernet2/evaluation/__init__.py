"""Metrics of detections, and analysis of their errors."""
