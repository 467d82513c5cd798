"""Sparse dictionaries of activations (to come)."""
