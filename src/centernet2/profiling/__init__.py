"""What `centernet2 benchmark` measures with."""
