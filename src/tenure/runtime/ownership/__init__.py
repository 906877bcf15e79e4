"""Becoming owner, staying owner, handing over."""
