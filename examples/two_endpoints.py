"""Two Multipath TCP endpoints back to back over two simulated links, one of which is cut halfway.

It prints

    both links carried data: True, all of it arrived: True
"""

from mpcore.config import Config
from mpcore.endpoint import Endpoint
from mpcore.sim import LinkPlan, LinkSettings, cut, run_transfer

link = LinkPlan(settings=LinkSettings(rate_bps=20_000_000, delay_ns=10_000_000))
result = run_transfer(
    (link, link),
    up_bytes=1_000_000,
    client_endpoint=lambda rng, now_ns: Endpoint(Config(), rng=rng, now_ns=now_ns),
    server_endpoint=lambda rng, now_ns: Endpoint(Config(), rng=rng, now_ns=now_ns),
    script=[(150_000_000, cut("link1"))],
)
carried = [result.links[f"link{number}>"].delivered_bytes for number in range(2)]
print(f"both links carried data: {min(carried) > 100_000}, all of it arrived: {result.ok}")
