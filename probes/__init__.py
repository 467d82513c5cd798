"""What is linearly there: probes with their controls, causal tests, Othello."""
