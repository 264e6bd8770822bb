"""Find, describe and scaffold methods, tasks and problems."""
