"""Importing the jobs of a Hermes profile as Tenure's own."""
