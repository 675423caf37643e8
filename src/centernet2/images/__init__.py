"""Image files of any format from anywhere, as arrays, and at the size of a test as tensors."""
