"""Call the verbs from Python: what the command line does, with the same names, as objects and data frames."""
