"""What an author subclasses: Method, Observation, Task, Plugin; and the checks of what passes between engine and method."""
