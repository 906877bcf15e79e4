"""What tests, benchmarks and the scenario build on. Not part of the installed package."""
