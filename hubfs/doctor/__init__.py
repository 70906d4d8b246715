"""`hubfs doctor`: what a mount needs, looked at piece by piece, and what to do about what is missing."""
