"""Frameworks that host Tenure, and PyInstaller. Each is imported only where it is used."""
