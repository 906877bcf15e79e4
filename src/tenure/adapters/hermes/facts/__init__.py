"""What Hermes keeps on disk, read without Hermes."""
