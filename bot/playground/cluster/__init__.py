"""A Kubernetes cluster on loopback, which `kubernetes.aio` and kubectl work against unchanged; imports nothing of ours.

It is the test double of everything that speaks to Kubernetes, and the cluster of the demo: a strict API server of
1.36 for the kinds in `resources`, the controllers that make them happen, and a node whose pods are processes of this
machine.

    registry = Registry()
    web = registry.add("registry.example/shop/web", "v1", [sys.executable, "web.py"])   # name@sha256:...
    async with Cluster(name="eu", registry=registry) as c:
        c.apply(namespace, deployment, service)            # dicts, as a manifest has them; as admin, not counted
        await c.rolled_out("web", "shop")
        config = await kubernetes.aio.config.load_kube_config(str(c.kubeconfig("bot")))
        requests.get(f"http://{c.address('web/shop')}/")   # the service, over its ready pods

Cluster(name, registry=, clock=, kubelet=True, users=, policy_delay=, policies=True, backoff=10, ...)
    clock           bot.playground.workspace.clock.Clock; `Clock(t, frozen=True)` and `c.clock.advance(s)` move
                    deadlines, back-offs, schedules, the policies' delay. Processes and probes run in real time all the
                    same.
    policy_delay    seconds until a policy bites, or its end is felt; left out: another each time, as on a real server
    policies=False  the admission plugin is switched off: policies stand and refuse nothing
    kubelet=False   pods stay Pending until `c.set_status("Pod", name, ns, phase=..., conditions=[...])`

c.url, c.kubeconfig(user, namespace) -> Path, c.kubeconfig_of(user) -> dict
    users: admin (system:masters), bot (ServiceAccount rollback-bot/rollback-bot, ClusterRole rollback-bot: what
    deploy/kubernetes/rights gives it), ci (ServiceAccount ci/deployer, ClusterRole edit), argocd, break-glass
    (dana@example.com in the group break-glass, ClusterRole cluster-admin), nobody. RBAC is really enforced; change it
    with `c.apply`. Two clusters have the same tokens. kubectl keeps its token to itself over plain HTTP, so a
    kubeconfig's server is `<c.url>/as/<user>`; `c.url` with `Authorization: Bearer playground-<user>` is the same.
    `Impersonate-User`/`kubectl --as` works for who may impersonate.

c.apply(*manifests, user="admin"), c.get(kind, name, ns), c.all(kind, ns), c.set_status(kind, name, ns, **fields)
    what is stored is never to be changed in place
c.address("svc/ns"), c.pod_address(pod, ns) -> "127.0.0.1:port"
await c.until(lambda: ...), await c.rolled_out(name, ns)

c.registry (Registry): add(name, tag, argv, env) -> reference by digest; remove(name, tag or digest); fail(name, ref,
    message); .url serves /v2/<repository>/manifests/<ref> (HEAD, GET, Docker-Content-Digest). The host part of an image
    name is not looked at, the repository is the rest. A container gets PORT (its loopback port, whatever containerPort
    says), the image's env, the pod's env/envFrom/valueFrom, and <SVC>_SERVICE_HOST/PORT of its namespace's services.
    It has no file system of its own: volumes are accepted and not mounted.

c.requests (Journal): count(user=, verb=, resource=, name=), select(...), writes(user), clear(); resource as
    `deployments` or `deployments/scale`; discovery is not noted.
    `c.requests.writes("bot") == []`: a preview wrote nothing.

c.faults.add(Fault("error", verb="patch", resource="deployments", status=429, retry_after=1)); kinds: error, delay,
    refuse, lose_answer (done, unanswered), hang, close_watch, never_ready (name="web-*", next=None)
await c.disconnect() / await c.connect()   unreachable (connection refused) and back, on the same port
c.close_watches(resource, user)            running watches end;  c.store.compact()   older revisions are 410 Gone

c.git (Git): push(repoURL, path, manifests) -> revision; what Applications (argoproj.io/v1alpha1) compare with. A push
    is seen at a refresh (annotation) or after three minutes; `automated` syncs a new revision, `selfHeal` also an old.
    GitRepository, Kustomization and HelmRelease (Flux) read the same, once an interval, unless suspended.
c.metrics (Metrics): set(ns, "Deployment", name, load); 1.0 is the target. Moves HPAs and KEDA's ScaledObjects; KEDA
    honours autoscaling.keda.sh/paused and paused-replicas.

Rollout, ScaledJob, ApplicationSet   canary, blue-green and workloadRef; paused or not; what it makes stays as it says
c.owners.keep(ns, deployment, manager)   an operator that puts the template back, whoever changes it
Node objects                 a DaemonSet has a pod for each; what becomes of it there is the matter of the test
ResourceQuota                refuses pods beyond its `hard`, as ReplicaFailure/FailedCreate of what makes them; so does
                             the label pod-security.kubernetes.io/enforce of a namespace
c.webhooks.add(mirrored(prefix, mirror) | verified(known) | Webhook(...))   images rewritten, images refused that cannot
    be found, a webhook that fails (500) after a while
Server-side apply and managedFields are as upstream: Helm 4 works, and meets the same conflicts.

Left out, and refused where somebody could believe in it: exec/attach/port-forward, CRDs (the custom kinds are built
in), WebhookConfigurations, params and audit annotations of policies, HPA stabilisation, RBAC escalation
checks. Policies are CEL of Google's own runtime with the strings and optional
extensions; Kubernetes' own libraries (authorizer, quantity, url, ip) are unknown names there, and refused when the
policy is written. Fields that a kind has not are dropped with a warning, or refused with fieldValidation=Strict.

kubectl: Debian's 1.20 works in full; newer ones send `create` (not `apply`) of typed objects in protobuf alone, which
is refused (415) but for Secrets and ConfigMaps. `kubectl get --raw` needs the prefix in its path: `/as/admin/apis/...`.

`python -m bot.playground.cluster` runs one for people.
"""

from bot.playground.cluster.controllers.argocd import Git
from bot.playground.cluster.controllers.autoscalers import Metrics
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.faults import Fault, Faults
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.gate.webhooks import Webhook, mirrored, verified
from bot.playground.cluster.journal import Journal, Request
from bot.playground.cluster.node.images import Program, PullError, Registry
from bot.playground.cluster.server import Cluster, is_rolled_out

__all__ = [
    "ApiError",
    "Cluster",
    "Fault",
    "Faults",
    "Git",
    "Journal",
    "Metrics",
    "Program",
    "PullError",
    "Registry",
    "Request",
    "User",
    "Webhook",
    "is_rolled_out",
    "mirrored",
    "verified",
]
