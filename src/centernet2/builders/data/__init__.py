"""Find data sets, match their classes to a detector's, and build input pipelines."""
