"""Statements about a map: each asks a question, and answers it from the map's gains by a rule that it names."""
