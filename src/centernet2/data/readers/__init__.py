"""Annotation files of every layout, read into one index."""
