"""Base classes for plugin authors (Method, Task, Plugin), and the checks of a method's inputs and return values."""
