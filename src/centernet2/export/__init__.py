"""Export a detector to a file for other runtimes: graph, formats, certificate.

To add a format, write a file that turns the program of `program.py` into the content of a file, and
add it to FORMATS in `exporting.py`.
"""
