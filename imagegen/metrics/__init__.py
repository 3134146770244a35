"""What imagegen counts.

This door re-exports nothing: metrics are made when `definitions` is imported, which under a
supervisor comes after `files.share`.
"""
