"""The parts of the HTML page: cards, forest plot, marks of the best methods, and the template with style and script."""
