"""Groups of options in the help of commands; options without a group come first."""

from typing import Annotated

from cyclopts import Group, Parameter

Flag = Annotated[bool, Parameter(negative=())]  # an option without a value; there is no --no-...

DATA = Group("Data", sort_key=1)
RUN = Group("Kind and length of the run", sort_key=2)
DETECTIONS = Group("Detections", sort_key=2)
FILMS = Group("Films and streams", sort_key=3)
FILE = Group("Form of the file", sort_key=2)
PRECISION = Group("Precision of the file", sort_key=3)
QUEUE = Group("Batches and waiting requests", sort_key=2)
ACCESS = Group("Who may ask, and what is accepted", sort_key=3)
MEASUREMENT = Group("What is measured", sort_key=2)
LABELS = Group("Labels that are likely to be wrong", sort_key=2)
DRAWING = Group("What is drawn", sort_key=2)
DEVICE = Group("Device and number format", sort_key=4)
PROCESSES = Group("Processes and machines", sort_key=5)
