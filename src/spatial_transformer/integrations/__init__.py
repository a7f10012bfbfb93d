"""TensorBoard and Lightning."""
