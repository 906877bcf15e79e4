"""The profile's folder: its layout, its identity, the files beside the database."""
