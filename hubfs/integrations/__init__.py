"""What runs in the user's own process. Needs nothing but the standard library, and nothing else of hubfs."""
