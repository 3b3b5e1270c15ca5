"""Text to pre-train on and questions to judge by. Nothing here imports Keras."""
