"""The exercises' checkers, one module for each notebook."""
