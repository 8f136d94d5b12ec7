"""Which snapshots are kept, and for how long."""

from types import SimpleNamespace

from warppool.rewards.inuse import KEPT_S, SnapshotUse


def snapshot(number):
    return SimpleNamespace(id=bytes([number]) * 16)


def test_a_snapshot_goes_two_hours_after_its_last_job_but_never_the_newest():
    use = SnapshotUse()
    use.load(snapshot(1), [bytes([2]) * 16, bytes([1]) * 16], 100.0)
    use.add(snapshot(3), 200.0)
    use.use(bytes([1]) * 16, 300.0)
    assert use.outdated(100.0 + KEPT_S - 1) == ()
    assert use.outdated(100.0 + KEPT_S) == (bytes([2]) * 16,)
    assert use.outdated(300.0 + KEPT_S) == (bytes([1]) * 16,)
    assert use.outdated(1e9) == ()
    use.use(b"", 1e9)                       # a job that needs none
    use.add(snapshot(4), 1e9)
    assert use.outdated(1e9) == (bytes([3]) * 16,)
