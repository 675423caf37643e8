"""Release a version: refuse, build, check in bare environments, tag."""
