"""Text to pre-train on and questions to judge by."""
