"""Load the detectors of a service, in one process or on a cluster."""
