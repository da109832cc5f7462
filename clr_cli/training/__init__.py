"""Train models: optimizers, steps, and the loops around them."""
