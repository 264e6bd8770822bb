"""What an author subclasses: Method, Observation, Task, Plugin; and the checks of a method's inputs and outputs."""
