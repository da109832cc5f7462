"""Training: models, optimizers, steps, and the loops around them."""
