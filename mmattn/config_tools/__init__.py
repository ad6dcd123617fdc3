"""Explain, compare, judge and upgrade configs; no data is read and no model built."""
