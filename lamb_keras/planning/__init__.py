"""What runs would take on accelerators, estimated without one, by formula.

Nothing here imports Keras or JAX.
"""
