"""What `sae` adds to the command line."""
