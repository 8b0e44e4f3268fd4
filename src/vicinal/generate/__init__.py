"""Samples from generative models, made offline, and what stands in for them at small scale."""
