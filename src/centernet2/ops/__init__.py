"""Definitions of operators: readable PyTorch code for any device."""
