"""Sparse dictionaries of activations: trained from the cache, judged, used."""
