"""Building blocks in plain torch that more than one system needs."""
