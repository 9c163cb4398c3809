"""What synthetic data is worth to a model that people train."""
