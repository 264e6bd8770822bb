"""Suites and recipes."""
