"""The loop: data, training, serving."""
