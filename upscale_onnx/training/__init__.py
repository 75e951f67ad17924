"""Training a model from its ONNX file: it runs in PyTorch, and its weights return to the same initializers."""
