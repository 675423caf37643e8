"""One file per command: command, file and Python function carry the same name."""
