"""A report as one self-contained HTML file: the page, its parts and their style."""
