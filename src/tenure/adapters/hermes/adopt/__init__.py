"""Putting a Hermes home under Tenure, each step recorded first."""
