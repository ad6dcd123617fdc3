"""The tests of mmattn.

A package, so that ``tests.support`` is ours: the original mmsegmentation installs a ``tests`` too.
"""
