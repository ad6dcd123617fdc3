"""Contracts that tests inherit, for blocks and operators of your own."""
