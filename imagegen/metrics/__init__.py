"""What imagegen counts.

This package re-exports nothing. Metrics are made when `definitions` is imported, which a supervisor
does after `shared_memory.share`.
"""
