"""What is measured of a model's outputs: accuracy on labelled images, and the distance from another model's."""
