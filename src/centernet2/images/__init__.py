"""Image files of any format from anywhere, as arrays, or as tensors of test size."""
