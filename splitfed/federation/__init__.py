"""Flower's ServerApp and ClientApp, the in-process Grid that runs them, and checkpoints."""
