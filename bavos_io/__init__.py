"""Clips in and files out: reading untrusted clips of any kind, writing videos and files.

Knows nothing of the method. Import from its modules; importing the package alone loads nothing.
"""
