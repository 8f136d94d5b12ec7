"""Who is owed what: the thread `payout`, its window of shares, and the snapshots that jobs pay by."""
