"""What is wrong with a data set, and a repaired copy of it."""
