"""What is linearly there in activations: probes and their controls (to come)."""
