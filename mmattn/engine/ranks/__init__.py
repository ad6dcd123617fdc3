"""The processes of one training end together, and the first error is the one that is read.

``watch`` joins every process to a small server in rank 0 (``server``), before anything is checked
and long before the process group exists. A connection that closes without a word is a process that
was killed; ``progress`` tells how far each has come, so that one that hangs is found.
"""
