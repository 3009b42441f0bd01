"""Trained models: how one comes from a log, where it lies, and its pictures."""
