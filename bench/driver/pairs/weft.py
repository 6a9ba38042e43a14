"""Weft: two `weft-proxy --records FILE`, policy and metrics on. The only module that knows what that file looks like.

`start` returns a Subject with doors for the lanes h1, h2, cold and bulk (the last two of services declared as TCP),
processes [A, B], the port of B's mesh listener under one lane in `mesh_ports`, ALPN `weft/1`, and as `hello` a mesh
head and REQUEST. Certificates of `site` carry CLIENT_ID and SERVER_ID; B's destinations are the ports of `site.server`.
"""

from . import Skip


def start(site):
    if "weft-proxy" not in site.tools:
        raise Skip("weft-proxy isn't built (cargo build --profile dist -p weft-proxy)")
    raise Skip("this weft-proxy reads no records from a file")
