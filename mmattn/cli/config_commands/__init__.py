"""The commands of ``mmattn config``, a file each."""
