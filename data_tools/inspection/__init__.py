"""What is in a data set, and what in it would train wrong: before conversion and after."""
