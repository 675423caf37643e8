"""The published models: what is known of them, and their weights."""
