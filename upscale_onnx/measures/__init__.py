"""Measures of a model's outputs: accuracy on labelled images, and the distance from the outputs of another model."""
