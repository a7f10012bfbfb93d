"""The paper's experiments: data, models, training, and one folder a table."""
