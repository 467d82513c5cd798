"""The study course: notebooks that are executed, and what checks the answers in them."""
