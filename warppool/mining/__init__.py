"""Templates, jobs, channels and shares, and no protocol; pure."""
