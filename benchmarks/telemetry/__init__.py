"""Telemetry as a projection, in figures (`make bench-telemetry`).

__main__    the parts"""
