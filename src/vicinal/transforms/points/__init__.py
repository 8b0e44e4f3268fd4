"""Transforms of scenes of points."""
