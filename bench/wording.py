"""The words of docs/performance.md that stand around its figures."""

# ruff: noqa: RUF001 -- the text is for people: a multiplication sign is one

from __future__ import annotations

from typing import Final

HEAD: Final = """\
# What the gateway costs

`make bench` measures this gateway, two others and no gateway at all in one run on one machine; `python -m bench` has
options for less. The figures lie in [performance.json](performance.json), from which `python -m bench.page` makes
this page and its pictures again. What follows from them for Azure is in [scaling.md](scaling.md).

Each figure is the median of the rounds, beside it the least and the most. *direct* is the upstream without a gateway;
in brackets stands its own value, not a difference. ✓ and ✗: the goal is reached or not.
"""

CONDITIONS: Final = """
## What is measured, and how

One core for the gateway with every process that its command starts, the other for an upstream that answers at once
with canned bytes, and for the load generator. Everything is on loopback, without TLS. Contenders take turns: {rounds}
rounds, in each of which each is started anew, warmed up and measured for {seconds} s on each row. *Added* is the
difference to the direct call in the same round.

- Sizes are those of the picture's base64, which is the answer but for a few hundred bytes.
- *n at a time*: so many callers, each on a connection that is kept, each asking again as soon as it has its answer.
- Every answer is checked: its status, its length, and the picture in it; below 256 KiB to the last character. One
  wrong answer, and there is no figure.
- *CPU per answer* is user and system time of all its processes, over all answers.
- *16 streams*: each is asked for one partial image, which upstream sends after 100 ms, and the finished picture 100
  ms later (4 KiB each); the callers begin evenly spread. The time runs until the first event is whole, because only
  then an SDK hands it out. In the line below upstream does not wait: 16 callers then keep the core busy at every
  moment, and the time is that of the queue.
- *Memory* is the resident memory of all processes (make's, too), as the kernel counts it: idle after the start and
  one answer, peak at the end of the round's measurements.
- *Start* is the time from the command until the first answer with a picture begins; byte code and disk cache are
  warm.

This gateway is started by `make serve` with the packages of requirements.txt and no others, a catalogue of
deployments that have a family and three targets in three resources with keys of their own, and fifty virtual keys.
Its callers use one of them. It does all its work, the line in the log included. No storage is set, so that it keeps
its ledger in its own memory: about 1.2 KB a call, for the last 10,000 calls, which is some 12 MB of the peak. Where
callers want JSON it asks upstream for a stream and folds it, as it does in front of Azure; the direct caller asks for
plain JSON, as an SDK does. The streams of upstream are cut into HTTP chunks of 64 KiB.

### Upstream and load generator are not the bottleneck

The column *direct* is what both can do together on their one core. While a gateway was measured, the busiest round
used this much of the two cores:
"""

PEERS: Final = """
### The peers

LiteLLM runs as one worker without a database, Portkey without its console; both with telemetry and look-ups elsewhere
off. LiteLLM's callers give its master key, Portkey's the upstream's own; neither has families or virtual keys to
check.

Neither streams pictures on its image endpoints: LiteLLM answers 500, having asked upstream three times; Portkey drops
`stream` and answers JSON. Their streams here are those of their raw pass-through routes, which hand on bytes.
Portkey's are 500, too, with the newest `@hono/node-server` that npm installs for it; it was measured with 1.13.8. It
holds the first event of a stream back for 25 ms on purpose.

As a check of the method, the same figures of LiteLLM 1.106 and Portkey 1.15 from another machine with two cores. How
its streams were paced is not known.
"""

SIZES: Final = """\
Every point is measured in a process that has just been started, and is the median of its repetitions. Each caller
asks again as soon as it has its answer, so that a core that is full shows as latency that grows with the calls
in flight. Real calls wait for the model, a minute and more, and cost nothing while they wait.
"""

MEMORY: Final = """
## Memory of a picture in flight

memory in MB ≤ {idle} + {call} × calls in flight + {factor} × 4/3 × MB of all pictures in flight

MB are 10⁶ bytes of *picture*; base64 is 4/3 of them. The first constant is the idle gateway, the second what a call
takes without its picture, the third the worst of all cases below over the base64 that is in flight. A picture is in
flight from its first byte until its caller has read it, not while it is drawn. Each case was held still at one of two
moments: all but the end had come from upstream, or all was there and the caller had stopped reading. A stream is held
one event at a time. What the system keeps in socket buffers comes on top, up to some MB for each caller that does not
read.
"""

SCALING: Final = """\
# How far it scales

On paper: the figures of this gateway are measured ([performance.md](performance.md)), those of Azure are from
Microsoft's documentation, and the arithmetic is shown, so that it can be done again with other numbers. Nothing here
was run in Azure. `python -m bench.page` makes this page from the measured figures.

## What one instance of Flex Consumption holds

An instance of {instance} MB has one core; the Functions host has 272 MB besides. Planned with is {usable_share} of
it: {instance} MiB × {usable_share} = {usable} MB of 10⁶ bytes. By the measured formula,

    MB = {idle} + calls × ({call} + {factor} × 4/3 × MB of the pictures of one call)

if **every** picture is in flight in the same moment, the worst that can be:

{memory_table}

✗ is more than is planned with. A call waits for the model most of its time; its pictures are in flight only while
they arrive and leave, so that the worst case takes callers who stop reading. An instance's concurrency should be at
most the last column for what its callers ask for: where that is `n` of 10 or 4K, lower it or take instances of 4,096
MB.

## Its processor

{concurrency} calls at once, each drawn in {drawing} s, end at {concurrency} / {drawing} = {ends} a second. A 4 MiB
answer costs {cpu} ms of CPU: {ends} × {cpu} ms = {cpu_a_second} ms a second, {busy} of the core. The core would be
full at 1000 / {cpu} = {full} such pictures a second, or at {small} small answers, such as errors. Concurrency ends
first, by far.

## A million pictures a day

{day_table}

In flight is the rate times the time (Little's law). Each of the {count} instances of the busiest hour ends {each}
pictures a second and holds {each_mb} MB if all its {concurrency} pictures are in flight at once. Flex Consumption
goes to 1,000 instances, within the subscription's quota of cores in a region.

## What Azure OpenAI lets through

A million a day is {mean_a_minute} calls a minute on average, {busiest_a_minute} in the busiest hour. This is the
quota of one deployment in the first tier, and how many of them, each a target of the catalogue in a region or
subscription of its own, that takes:

{quota_table}

**The quota is the limit, not the gateway.** One instance at {concurrency} calls ends {ends_a_minute} a minute; that
is what {deployments} deployments with {quota} calls a minute give. Such volumes need a raised quota. And a budget:
{per_day} × {tokens} output tokens (square, medium) × ${price} a million = ${cost} a day.

## What was not measured

- Azure: the Functions host and its proxy, through which every byte passes; cores and network there; cold starts; how
  fast instances are added.
- TLS, towards upstream and from callers.
- State in Azure Storage: the figures are those of a gateway with its keys in the settings.
- Callers on slow lines hold a picture in memory for longer; how long is not known.
- How long models really draw, and how calls spread over the day: {drawing} s and the factor of the busiest hour are
  assumptions. """

CLIENTS: Final = """
## Why a connection of our own

The same gateway over other HTTP clients of the registries, each behind the one port (`connection.py`),
measured as above by `make bench-clients` on {made_on}: medians of {rounds} rounds of {seconds} s a row, with
{versions}. The loop that tells the noise took {least} to {most} ms, and something else kept up to {others} cores busy.
The figures compare these clients with each other; they are not those of the table at the top.
"""

WHY_OURS: Final = """
httpx's pool looks at every connection for every request, whatever its limits are. aiohttp's does not, but its import
is paid for at every cold start, and httpx's objects are made for each call on top. What a gateway needs of HTTP/1.1 is
little, and llhttp, the parser, is in the process already, for uvicorn."""
