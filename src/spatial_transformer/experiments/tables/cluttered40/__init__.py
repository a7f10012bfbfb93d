"""Cluttered MNIST, 40x40."""
