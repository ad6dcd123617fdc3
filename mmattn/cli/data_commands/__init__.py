"""The commands of ``mmattn data``, a file each."""
