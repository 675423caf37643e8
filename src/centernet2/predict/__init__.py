"""Prediction: from images, folders, films or cameras to boxes and files of them."""
