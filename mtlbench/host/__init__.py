"""The machine: whole files, safe names, output streams, the terminal, and what is said of the environment."""
