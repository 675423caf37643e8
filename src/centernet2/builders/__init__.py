"""From a config to objects: the only modules that know both."""
