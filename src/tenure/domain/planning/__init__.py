"""What an owner does about each job: due fires, catch-up, overlap, retries."""
