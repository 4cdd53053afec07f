"""Coverage-guided fuzzing (atheris) of everything that reads a stranger's or a peer's bytes. `make fuzz`."""
