"""Rows 149 to 176: metrics collector, transport and front end."""

from typing import Any

from unit.admission.manifests.cases import Rows

ROWS = Rows()
rej, ok, warn, inert, elsewhere = ROWS.rej, ROWS.ok, ROWS.warn, ROWS.inert, ROWS.elsewhere

C = "spec.metricsCollectorSpec"
KIND = f"{C}.collector.kind"
PLACE = f"{C}.source.fileSystemPath"
FILTERS = f"{C}.source.filter.metricsFormat"
HTTP = f"{C}.source.httpGet"


def file(path: str = "/logs/m.log", **more: Any) -> dict[str, Any]:
    """A File collector."""
    return {C: {"collector": {"kind": "File"}, "source": {"fileSystemPath": {"path": path, **more}}}}


def filters(*patterns: str, kind: str = "StdOut") -> dict[str, Any]:
    """A collector with patterns."""
    return {C: {"collector": {"kind": kind}, "source": {"filter": {"metricsFormat": list(patterns)}}}}


def prometheus(**http: Any) -> dict[str, Any]:
    """A Prometheus collector."""
    return {C: {"collector": {"kind": "PrometheusMetric"}, "source": {"httpGet": http}}}


def events(**place: str) -> dict[str, Any]:
    """A TensorFlowEvent collector."""
    return {C: {"collector": {"kind": "TensorFlowEvent"}, "source": {"fileSystemPath": place}}}


def custom(source: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    """A Custom collector."""
    collector = {"kind": "Custom", "customCollector": {"name": "own", "image": "own:1", **container}}
    return {C: {"collector": collector, **({"source": source} if source else {})}}


rej("149", "kind Foo", {KIND: "Foo"}, KIND, "not one of StdOut, File")
rej("149", "kind stdout", {KIND: "stdout"}, KIND, "did you mean StdOut?")
rej("149", "kind None", {KIND: "None"}, KIND, "use Push")
rej("149", "collector without kind", {f"{C}.collector": {}}, KIND, "must be one of")
rej(
    "149",
    "kind not configured here",
    {KIND: "PrometheusMetric"},
    KIND,
    "not one of File, StdOut",
    catalogue={"kinds": ["StdOut", "File"]},
)
rej("150", "path relative", file("logs/m.log"), f"{PLACE}.path", "must be an absolute path")
for path, says in (
    ("/etc/passwd", "hide parts of the system"),
    ("/var/run/secrets/x", "hide parts of the system"),
    ("/proc/self/environ", "hide parts"),
    ("/x/../../etc/y", "must be a plain path"),
    ("//", "must be a plain path"),
    ("/", "must name a file"),
    ("/m.log", "hide parts of the system"),
    ("/a\0b/c", "control characters"),
    ("/a\nb/c", "control characters"),
    ("/" + "a/" * 2048, "at most 4095"),
    ("/x/./y", "must be a plain path"),
    ("/usr/bin/x", "hide parts"),
    ("/var/x", "hide parts"),
    ("/logs/", "must name a file"),
):
    rej("151", f"path {path[:20]!a}", file(path), f"{PLACE}.path", says)
for path in ("/etc/tf", "/", "/usr/lib/x/"):
    rej("151", f"folder {path}", events(path=path), f"{PLACE}.path", "hide parts of the system")
ok("151", "a folder of its own", file("/katib/mnist.log"))
rej("152", "format xml", file(format="xml"), f"{PLACE}.format", "not one of TEXT, JSON")
ok("152", "format missing is TEXT", file())
rej(
    "153",
    "JSON with filter",
    {
        **file(format="JSON"),
        f"{C}.source": {
            "fileSystemPath": {"path": "/logs/m", "format": "JSON"},
            "filter": {"metricsFormat": [r"(\w+)=(\d+)"]},
        },
    },
    f"{C}.source.filter",
    "must be left out for the format JSON",
)
rej(
    "154",
    "TensorFlowEvent with kind File",
    events(path="/logs/x", kind="File"),
    f"{PLACE}.kind",
    "not one of Directory",
)
rej("154", "TensorFlowEvent with format", events(path="/logs/x", format="TEXT"), f"{PLACE}.format", "must be left out")
rej("154", "File with kind Directory", file(kind="Directory"), f"{PLACE}.kind", "not one of File")
rej("155", "filter that does not compile", filters("(a"), f"{FILTERS}[0]", "is no RE2 pattern: missing )")
rej("156", "escaped brackets", filters(r"\(a\)\(b\)"), f"{FILTERS}[0]", "needs two groups")
rej("156", "one group", filters("(a)b"), f"{FILTERS}[0]", "needs two groups")
ok("157", "three groups", filters(r"(\w+)=(\d+)( x)?"))
ok("157", "nested groups", filters(r"(\w+)=((-?\d+)(\.\d+)?)"))
ok("157", "named groups", filters(r"(?P<value>\d+) (?P<name>\w+)"))
warn("157", "value inside name", filters(r"((\d+)=\w+)"), "lies inside the group for the name")
for pattern in (r"(a)(?=b)(c)", r"(a)(?<!b)(c)", r"(a)\1(b)"):
    rej("158", pattern, filters(pattern), f"{FILTERS}[0]", "is no RE2 pattern")
inert("159", "(a+)+$", filters(r"(a+)+(b)$"))
inert("159", "nested repeats", filters(r"(\w+\s?)*:\s*([\d.]+)"))
rej("160", "program too large", filters("((a{1,1000}){1,1000})(b)"), f"{FILTERS}[0]", "is no RE2 pattern")
rej("160", "pattern of 100 kB", filters("(a)(b)" + "x" * 100_000), f"{FILTERS}[0]", "characters long")
inert("161", "filter with ;", filters(r"(\w+);(\d+)"))
rej("162", "1,000 filters", filters(*[rf"(\w+)={i}(\d+)" for i in range(1000)]), FILTERS, "at most 16")
warn("163", "name may be empty", filters(r"(\w*)=(\d+)"), "for the name can match empty text")
warn("163", "value may be empty", filters(r"(\w+)=(\d*)"), "for the value can match empty text")
ok("163", "the default filter, written out", filters(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"))
for port in (0, 70_000, "abc", -1, "0"):
    rej("164", f"port {port!r}", prometheus(port=port), f"{HTTP}.port", "must be a port number")
rej("164", "port list", prometheus(port=[1]), f"{HTTP}.port", "must be a number or text")
rej("164", "path without /", prometheus(port=80, path="metrics"), f"{HTTP}.path", "must begin with /")
rej("164", "path with CR LF", prometheus(port=80, path="/m\r\nX: y"), f"{HTTP}.path", "control characters")
rej(
    "164",
    "header with CR LF",
    prometheus(port=80, httpHeaders=[{"name": "a", "value": "b\r\nc"}]),
    f"{HTTP}.httpHeaders[0].value",
    "control",
)
ok("164", "port as text", prometheus(port="9090", path="/m?x=1"))
ok("164", "all defaults", {KIND: "PrometheusMetric"})
for host in ("169.254.169.254", "db.other.svc", "[::ffff:169.254.169.254]"):
    rej("165", f"host {host}", prometheus(port=80, host=host), f"{HTTP}.host", "is not the trial itself")
rej("165", "scheme file", prometheus(port=80, scheme="file"), f"{HTTP}.scheme", "not one of HTTP, HTTPS")
PATH = f"{C}.collector.customCollector"
rej(
    "166",
    "privileged",
    custom(securityContext={"privileged": True}),
    f"{PATH}.securityContext.privileged",
    "Pod Security Standard",
)
rej(
    "166",
    "host port",
    custom(ports=[{"containerPort": 1, "hostPort": 1}]),
    f"{PATH}.ports[0].hostPort",
    "Pod Security Standard",
)
rej("166", "our name", custom(name="metrics-collector"), f"{PATH}.name", "name of our own collector")
rej(
    "166",
    "our volume",
    custom(volumeMounts=[{"name": "metrics-volume", "mountPath": "/x"}]),
    f"{PATH}.volumeMounts[0].name",
    "volume of ours",
)
rej("166", "no image", custom(image=""), f"{PATH}.image", "must be given")
rej("166", "bad image", custom(image="http://x"), f"{PATH}.image", "no image reference")
rej("166", "no name", custom(name=""), f"{PATH}.name", "must be given")
rej("166", "unknown field", custom(imag="x"), f"{PATH}.imag", "did you mean image?")
rej("166", "no container", {KIND: "Custom"}, PATH, "must be given")
rej(
    "166",
    "source that is no path",
    custom({"fileSystemPath": {"path": "x", "kind": "File"}}),
    f"{PLACE}.path",
    "must be an absolute path",
)
rej(
    "166",
    "source without kind",
    custom({"fileSystemPath": {"path": "/logs/x"}}),
    f"{PLACE}.kind",
    "not one of File, Directory",
)
ok("166", "a sound one", custom({"fileSystemPath": {"path": "/logs/x", "kind": "Directory"}}))
warn(
    "166",
    "container for another kind",
    {C: {"collector": {"kind": "StdOut", "customCollector": {"name": "x"}}}},
    "is not used by the collector StdOut",
)
ok("167", "collector absent", {})
ok("167", "collector spec empty", {C: {}})
warn(
    "168",
    "Push with File source",
    {C: {"collector": {"kind": "Push"}, "source": {"fileSystemPath": {"path": "/x/y"}}}},
    "is not used by the collector Push",
)
warn("168", "Push with filter", filters(r"(\w+)=(\d+)", kind="Push"), "is not used by the collector Push")
warn(
    "168",
    "StdOut with httpGet",
    {C: {"collector": {"kind": "StdOut"}, "source": {"httpGet": {"port": 80}}}},
    "is not used by the collector StdOut",
)

# Transport and front end
LEVELS = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
rej("169", "alias bomb", {}, "", "more than 100000 values", text=lambda: "\n".join(["a0: &a0 [lol]", *LEVELS]))
rej(
    "170",
    "python object",
    {},
    "",
    "the tag !!python/object",
    text=lambda: 'x: !!python/object/apply:os.system ["touch canary"]\n',
)
rej(
    "171",
    "duplicate keys in YAML",
    {},
    "",
    "stands twice",
    text=lambda: "spec:\n  maxTrialCount: 1\n  maxTrialCount: 2\n",
)
rej(
    "171",
    "duplicate keys in JSON",
    {},
    "",
    "twice in one object",
    text=lambda: '{"spec": {"maxTrialCount": 1, "maxTrialCount": 2}}',
)
for word, wanted in (
    ("12:30:45", "must be a whole number"),
    ("0o17", ""),
    ("010", ""),
    ("1e3", ""),
    ("no", "must be a whole number, not false"),
    ("2001-01-01", "must be a whole number"),
):
    text = (
        "apiVersion: kubeflow.org/v1beta1\nkind: Experiment\nmetadata: {name: x}\nspec: {maxTrialCount: " + word + "}\n"
    )
    rej(
        "172",
        f"maxTrialCount {word}",
        {},
        "spec.maxTrialCount" if wanted else "spec.objective",
        wanted or "must be given",
        text=lambda text=text: text,
    )
rej("172", "key y", {}, "", "the key y is read as true", text=lambda: "y: 1\n")
for title, raw, says in (
    ("UTF-16", "a: 1".encode("utf-16"), "UTF-16"),
    ("tabs", "a:\n\tb: 1", "not tabs"),
    ("NUL", b"a: 1\0", "NUL character"),
    ("empty", b"", "holds no object"),
    ("100 MB", b"a" * (100 * 1024 * 1024), "bytes long; at most"),
    ("two documents", b"a: 1\n---\nb: 1\n", "must be given"),
    ("byte order mark and CR LF", b"\xef\xbb\xbfa: 1\r\n", "must be given"),
):
    rej("173", title, {}, "apiVersion" if says == "must be given" else "", says, text=lambda raw=raw: raw)
elsewhere(
    "174",
    "AdmissionReview",
    "the envelope is the HTTP server's",
    "tests/unit/apiserver/test_api_manifest_rows.py::test_row_174_requests_of_any_shape",
)
for title, delta in (("sound", {}), ("UPDATE parallel", {"spec.parallelTrialCount": 6})):
    ok("175", title, delta, old={"status": {"trials": 3}} if delta else None)
elsewhere(
    "176",
    "Katib's examples",
    "the files themselves are read",
    "tests/unit/admission/test_admission_examples.py::test_example",
)
