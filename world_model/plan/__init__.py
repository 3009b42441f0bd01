"""Choosing a course of action by expected free energy over what a model foresees."""
