"""mlscaffold: repositories for machine-learning solutions, made from a template and kept on it."""
