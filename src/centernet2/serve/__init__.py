"""The HTTP service: from requests to batches to answers."""
