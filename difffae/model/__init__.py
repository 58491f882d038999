"""The networks, one a file; tensors in, tensors out; they know nothing of faces."""
