"""From settings to objects: the only modules that know both."""
