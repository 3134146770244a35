"""The status page at the exporter's `/`: what waits, what was made, what failed and why."""
