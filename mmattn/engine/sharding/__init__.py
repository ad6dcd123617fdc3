"""A model whose weights, gradients and optimiser state are shared out among the processes."""
