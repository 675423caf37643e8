"""How good detections are: COCO figures, and what they are made of."""
