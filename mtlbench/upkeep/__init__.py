"""Maintenance of results folders: status, merge, clean, export, and the comparison of two folders."""
