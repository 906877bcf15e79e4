"""The way back out of an adoption. Standard library only: copied into the home."""
