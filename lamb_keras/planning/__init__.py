"""What runs take on accelerators, by formula: nothing here imports Keras or JAX."""
