"""Other schedulers: importing their jobs, running beside them."""
