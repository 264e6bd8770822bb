"""Results folders: status, merge, clean, export, and two folders beside each other."""
