"""Prediction: from an image, a folder, a film or a camera to boxes, and to files of them."""
