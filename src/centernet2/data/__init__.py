"""From files on disk to batches: the index of a split, its images, augmentation, sampling and loading."""
