"""Metrics of one supervisor's processes.

This package re-exports nothing. Metrics are made when `definitions` is imported, which a supervisor
does after `shared_memory.share`.
"""
