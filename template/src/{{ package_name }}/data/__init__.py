"""Data: where it comes from, what it has to look like, and which of it judges a model."""
