"""Commands about weights by name, one file each; ``mmattn/cli/weights.py`` lists them."""
