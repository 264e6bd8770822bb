"""Find, describe and scaffold methods and tasks."""
