"""Which Hermes processes run and what they do. Never writes."""
