"""The folder of manifests, as text: many policies over few namespaces, STRICT everywhere. Pure."""

STRICT = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""

POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {service}-{number}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {service}}}}}
  action: ALLOW
  rules:
    - from:
        - source: {{principals: ["cluster.local/ns/{friend}/sa/caller"]}}
        - source: {{namespaces: ["team-{number}", "ops"]}}
      to:
        - operation: {{ports: ["8080"], methods: [GET, POST], paths: ["/", "/api/v{number}/*"]}}
      when:
        - {{key: "request.headers[x-tenant]", notValues: ["blocked-{number}"]}}
"""

DENY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: switch, namespace: {namespace}}}
spec:
  action: DENY
  rules:
    - to:
        - operation: {{ports: ["{port}"]}}
"""

SERVED = 8080
UNUSED = 9


def namespace(index):
    return f"team-{index}"


def workloads(namespaces, count):
    """(namespace, name, role) of each: in each namespace a server, a caller of the next one's server, and sleepers."""
    roles = {0: ("server", "server"), 1: ("caller", "caller")}
    for index in range(count):
        at, place = index % namespaces, index // namespaces
        name, role = roles.get(place, (f"sleeper-{place}", "sleeper"))
        yield namespace(at), name, role


def callee(index, namespaces):
    """Whose server the caller of a namespace calls."""
    return f"server.{namespace((index + 1) % namespaces)}"


def files(namespaces, count, policies):
    """Name -> text: a file a workload, with its share of the policies."""
    found = {"strict.yaml": STRICT}
    everyone = list(workloads(namespaces, count))
    for index, (space, name, _) in enumerate(everyone):
        friend = namespace((int(space.rpartition("-")[2]) - 1) % namespaces)
        numbers = range(index, policies, len(everyone))
        texts = [POLICY.format(service=name, number=n, namespace=space, friend=friend) for n in numbers]
        found[f"{space}-{name}.yaml"] = "---\n".join(texts)
    return found


def switch(space, is_closed):
    """A policy that refuses all calls of its namespace, or none that anybody makes."""
    return DENY.format(namespace=space, port=SERVED if is_closed else UNUSED)
