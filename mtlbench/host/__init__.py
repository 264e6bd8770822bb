"""The machine: atomic file writes, safe names, output streams, the terminal and the environment."""
