"""The translator: V1 machines on a V2 pool, value to value; the only package that knows both protocols.

A machine and the pool disagree on when a share is settled, and on how long an address of work lasts. All that is
difficult here follows from these two.

**Why shares are held.** A V1 machine counts the answers to its shares, one to each, in their order, and takes silence
for a dead pool. A V2 pool answers by sequence number, many shares at once, and seconds or minutes later; until then
nobody but the pool knows the verdict. So the answer of each share that went upstream is held (`sent`) until

    the pool's verdict comes        the machine hears it, and the share goes into the books
    our patience ends               (`verdict_timeout_s`) the machine hears our own verdict, which is "accepted", since
                                    a share that we find bad never goes upstream. The share is unconfirmed from then
                                    on, and the pool's late verdict still counts in the books
    the connection is lost          likewise; no verdict can come any more

A pool that acknowledges in batches would let every answer wait for all of our patience. Such pools are recognised by
their answers (`promptness`), and their machines hear our own verdict at once.

**Why a machine moves.** A machine's extranonce is the upstream's, so it has one upstream at a time: the first in the
operator's order that is up (`failover`). It moves when its upstream is lost, asks it to go, or does what no pool does
that wants to be mined on; when a better upstream has been well for `return_after_s`; and when the operator names other
upstreams. The way there has phases (`route`). The old channel is kept until the new one has work, so a move costs no
time; and the old channel's shares keep their verdicts, for a channel that was left waits for them (`Stage.RETIRED`).
Another upstream means another extranonce. Machines that know `mining.set_extranonce` are told. The others can only
connect anew, so they are closed, each share being answered before: they come back and get the extranonce of the new
upstream with their subscribe. A machine that has no upstream for `grace_s` is closed too, since its own list of pools
may be better than ours.

**What must never be lost.** Each share is in exactly one counter at every moment (`counters`), and enters the books
once, by the pool's verdict alone. A hash that is a block goes upstream whatever is wrong with its share. No share goes
upstream twice. No machine is refused a share that it found under what it was told: the bar is the easiest target that
it may believe in (`MachineJobs.easiest`).

**What the others may do to us.** The pool is a stranger with our machines in its hands: its jobs, tips, targets and
extranonces have a pace and a size (`pace`, `channel`, `jobs`). A pool that goes past these is unfit, and its machines
go elsewhere. Of what a pool does, the log hears each kind once a minute (`upstreamlog`). A machine is credited what the
pool pays for and no more: a share that met only the machine's own easier target is answered and not sent.

Modules, each of which imports only those before it: `upstream`, `sent`, `channel`, `jobs`, `uplink`, `failover`,
`route`, `shares`, `setupcalls`, `session`, `connection`; and small ones that they share.
"""
