"""Attention of layers, captured by hooks: what a pixel or a query reads, and with what weight."""
