"""Frameworks that host Tenure. Each module is imported only where its framework is used."""
