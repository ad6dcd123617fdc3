"""Report of a semantic segmentation run: its data, and the report in HTML and in Markdown."""
