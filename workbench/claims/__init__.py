"""Known answers that a user can check on their own machine: `workbench selftest`."""
