"""From settings to objects: the only modules that know both. Tables of names are plain dictionaries."""
