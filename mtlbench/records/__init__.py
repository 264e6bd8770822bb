"""What is on disk, and the only reader and writer of it."""
