"""Rows 056 to 106: parameters, algorithm, early stopping, resume policy."""

from unit.admission.manifests.cases import ACT, DROP, LR, MAIN, Rows

ROWS = Rows()
rej, ok, warn, inert, elsewhere = ROWS.rej, ROWS.ok, ROWS.warn, ROWS.inert, ROWS.elsewhere

PARAMETERS = "spec.parameters"
LAYERS = "spec.parameters[1].feasibleSpace"
NAS = {"graphConfig": {"numLayers": 2}, "operations": [{"operationType": "skip_connection"}]}


def double(**space: str) -> dict:
    """Another feasible space for the double parameter."""
    return {LR: space}


rej("056", "neither parameters nor nasConfig", {PARAMETERS: DROP}, PARAMETERS, "must be given")
rej("056", "empty parameters", {PARAMETERS: []}, PARAMETERS, "must be given")
rej("057", "both", {"spec.nasConfig": NAS}, "spec", "give one of the two")
rej("058", "duplicate names", {"spec.parameters[1].name": "lr"}, "spec.parameters[1].name", "is there twice")
rej("059", "empty name", {"spec.parameters[0].name": ""}, "spec.parameters[0].name", "must be given")
rej("059", "no name", {"spec.parameters[0].name": DROP}, "spec.parameters[0].name", "must be given")
for name in ("$(id)", "`id`", "a b", 'a"b', "a/../b", "---a", "a" * 64, ".a"):
    rej("060", f"name {name[:10]}", {"spec.parameters[0].name": name}, "spec.parameters[0].name", "ASCII letters")
ok("061", "lr and LR", {"spec.parameters[1].name": "LR", "spec.trialTemplate.trialParameters[1].reference": "LR"})
ok("061", "--lr", {"spec.parameters[0].name": "--lr", "spec.trialTemplate.trialParameters[0].reference": "--lr"})
for name in ("e\u0301", "\u00e9"):
    rej("061", f"name {name!a}", {"spec.parameters[0].name": name}, "spec.parameters[0].name", "ASCII letters")
rej(
    "062",
    "type float",
    {"spec.parameters[0].parameterType": "float"},
    "spec.parameters[0].parameterType",
    "not one of double, int",
)
rej("062", "no type", {"spec.parameters[0].parameterType": DROP}, "spec.parameters[0].parameterType", "must be one of")
warn(
    "062",
    "type unknown",
    {"spec.parameters[0].parameterType": "unknown"},
    "suggestion services",
    catalogue={"engine": False},
)
rej("063", "min a", double(min="a", max="1"), f"{LR}.min", '"a" must be a finite decimal number')
rej("064", "min > max", double(min="2", max="1"), f"{LR}.max", '"1" is less than min, which is "2"')
warn("065", "min == max", double(min="1", max="1"), "lr is constant")
for text in ("NaN", "inf", "-inf", "Infinity"):
    rej("066", f"min {text}", double(min=text, max="1"), f"{LR}.min", "finite decimal number")
rej("066", "max 1e999", double(min="1", max="1e999"), f"{LR}.max", "too large for a double")
rej("066", "min 1e-999", double(min="1e-999", max="1"), f"{LR}.min", "too small for a double")
rej("066", "range too wide", double(min="-1.7e308", max="1.7e308"), f"{LR}.max", "max - min is too large")
for text in ("1_000", "\uff11", " 1 ", "0x10", "1.", ".5e", "1,5", "--1", "1e", "\u0661", "1\n", "9" * 65):
    rej("067", f"max {text[:10]!a}", double(min="0", max=text), f"{LR}.max", "decimal number")
for text in ("+5", ".5", "5e-1", "5E+1", "007"):
    ok("067", f"max {text}", double(min="0", max=text))
rej("068", "int with 1.5", {f"{LAYERS}.max": "1.5"}, f"{LAYERS}.max", "must be a whole number")
rej("068", "int with 1e3", {f"{LAYERS}.max": "1e3"}, f"{LAYERS}.max", "must be a whole number")
rej("069", "int beyond 2**53-1", {f"{LAYERS}.max": "9007199254740992"}, f"{LAYERS}.max", "must lie between")
rej("069", "int beyond any", {f"{LAYERS}.max": "9" * 5000}, f"{LAYERS}.max", "must be a whole number")
for text, says in (("0", "more than 0"), ("-1", "more than 0"), ("NaN", "decimal number"), ("1e-400", "too small")):
    rej("070", f"step {text}", double(min="0", max="1", step=text), f"{LR}.step", says)
warn("071", "step > max - min", double(min="1", max="2", step="5"), "the only value")
for distribution in ("logUniform", "logNormal"):
    rej(
        "072",
        f"{distribution} with min 0",
        double(min="0", max="1", distribution=distribution),
        f"{LR}.min",
        "more than 0",
    )
    rej(
        "072",
        f"int {distribution} with min -1",
        {LAYERS: {"min": "-1", "max": "3", "distribution": distribution}},
        f"{LAYERS}.min",
        "more than 0",
    )
rej(
    "073",
    "normal with grid",
    {**double(min="1", max="2", step="0.1", distribution="normal"), "spec.algorithm": {"algorithmName": "grid"}},
    f"{LR}.distribution",
    "grid visits every step",
)
for name in ("sobol", "cmaes", "multivariate-tpe", "bayesianoptimization"):
    drawn = double(min="1", max="2", distribution="logNormal")
    ok("073", f"logNormal with {name}, which can", {**drawn, "spec.algorithm": {"algorithmName": name}})
rej(
    "073",
    "distribution gauss",
    double(min="1", max="2", distribution="gauss"),
    f"{LR}.distribution",
    "not one of uniform",
)
warn("073", "distribution unknown", double(min="1", max="2", distribution="unknown"), "read as uniform")
rej(
    "073",
    "distribution of a categorical",
    {f"{ACT}.distribution": "normal"},
    f"{ACT}.distribution",
    "belongs to int and double",
)
rej("074", "list on a double", {f"{LR}.list": ["1"]}, f"{LR}.list", "belongs to discrete and categorical")
rej("075", "categorical without list", {ACT: {}}, f"{ACT}.list", "at least one value")
rej("075", "categorical with empty list", {ACT: {"list": []}}, f"{ACT}.list", "at least one value")
rej("076", "categorical with duplicates", {f"{ACT}.list": ["a", "b", "a"]}, f"{ACT}.list[2]", "is there twice")
DISCRETE = {"spec.parameters[2].parameterType": "discrete"}
rej("077", "discrete a", {**DISCRETE, f"{ACT}.list": ["1", "a"]}, f"{ACT}.list[1]", "decimal number")
rej("077", "discrete 0.1 twice", {**DISCRETE, f"{ACT}.list": ["0.1", "0.10"]}, f"{ACT}.list[1]", "is there twice")
rej("078", "min on categorical", {f"{ACT}.min": "1"}, f"{ACT}.min", "belongs to int and double")
rej(
    "078",
    "step on discrete",
    {**DISCRETE, f"{ACT}.list": ["1"], f"{ACT}.step": "1"},
    f"{ACT}.step",
    "discrete takes a list",
)
rej("079", "only max", double(max="1"), f"{LR}.min", "must be given")
rej("079", "only min", double(min="1"), f"{LR}.max", "must be given")
rej("079", "no feasible space", {LR: DROP}, f"{LR}.min", "must be given")
MANY = [{"name": f"p{i}", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "2"}} for i in range(1001)]
rej("080", "1,001 parameters", {PARAMETERS: MANY}, PARAMETERS, "at most 1000")
rej("080", "10^5 choices", {f"{ACT}.list": [str(i) for i in range(100_000)]}, f"{ACT}.list", "at most 10000")
rej("080", "10^6 choices", {f"{ACT}.list": ["x"] * 1_000_000}, "", "larger than 1000000 bytes")
GRID = {"spec.algorithm": {"algorithmName": "grid"}}
rej("081", "grid over a double without step", GRID, f"{LR}.step", "step")
HUGE = [
    {"name": f"p{i}", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1", "step": "1e-9"}}
    for i in range(20)
]
HUGE_USE = [{"name": f"p{i}", "reference": f"p{i}"} for i in range(20)]
rej(
    "082",
    "grid of 20 doubles with step 1e-9",
    {
        **GRID,
        PARAMETERS: HUGE,
        "spec.trialTemplate.trialParameters": HUGE_USE,
        f"{MAIN}.command": ["python3", *(f"${{trialParameters.p{i}}}" for i in range(20))],
    },
    PARAMETERS,
    "points",
)
ROWS.hostile("083", '"; rm -rf /tmp/canary #')
ROWS.hostile("084", "$(touch canary)", "`touch canary`", "\n touch canary")
ROWS.hostile("085", '","hostNetwork":true,"x":"')
ROWS.hostile(
    "086",
    "${trialParameters.other}",
    "${trialParameters.rate}",
    "$(KATIB_TRIAL_NAME)",
    "{{7*7}}",
    "%s",
    "!!python/object:x",
    "$$",
)
OWN = {f"{MAIN}.command[4]": "${trialParameters.act}"}
for value in ("--evil-flag", "-c", "@/etc/passwd"):
    warn("087", f"value {value} as its own argument", {**OWN, f"{ACT}.list": ["a", value]}, "may be read as an option")
ROWS.hostile("087", "--evil-flag", "-c", "@/etc/passwd", "=x")
ROWS.hostile("088", "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "\x1b[31mred")
rej("089", "value of 100 kB", {f"{ACT}.list": ["x" * 100_000]}, f"{ACT}.list[0]", "at most 4096")
rej("089", "value with NUL", {f"{ACT}.list": ["a\0b"]}, f"{ACT}.list[0]", "NUL")
rej("089", "value with a lone surrogate", {f"{ACT}.list": ["\ud800"]}, f"{ACT}.list[0]", "half of a surrogate pair")
rej(
    "090",
    "numbers in a list",
    {f"{ACT}.list": [1, True, 1000]},
    f"{ACT}.list[0]",
    "must be text, not the number 1; put quotes round it",
)
rej(
    "090",
    "booleans in a list",
    {f"{ACT}.list": [1, True, 1000]},
    f"{ACT}.list[1]",
    "must be text, not true; put quotes round it",
)
rej("090", "numbers as bounds", {f"{LR}.max": 5}, f"{LR}.max", "must be text, not the number 5; put quotes round it")

# Algorithm, early stopping, resume
NAME, SETTINGS = "spec.algorithm.algorithmName", "spec.algorithm.algorithmSettings"
STOP = "spec.earlyStopping"


def settings(algorithm: str, **given: str) -> dict:
    """An algorithm with settings."""
    return {
        "spec.algorithm": {
            "algorithmName": algorithm,
            "algorithmSettings": [{"name": name, "value": value} for name, value in given.items()],
        }
    }


rej("091", "no algorithm", {"spec.algorithm": DROP}, "spec.algorithm", "must be given")
rej("092", "empty algorithm name", {NAME: ""}, NAME, "known: bayesianoptimization, cmaes")
rej("092", "algorithm foo", {NAME: "foo"}, NAME, 'there is no algorithm "foo"; known: bayesianoptimization')
rej("093", "algorithm ../../x", {NAME: "../../x"}, NAME, "there is no algorithm")
rej("093", "algorithm TPE", {NAME: "TPE"}, NAME, "did you mean tpe?")
rej("093", "algorithm of 300 characters", {NAME: "x" * 300}, NAME, "there is no algorithm")
rej("094", "unknown setting", settings("random", random_stat="1"), f"{SETTINGS}[random_stat]", "random_state")
rej(
    "095",
    "duplicate settings",
    {SETTINGS: [{"name": "random_state", "value": "1"}] * 2},
    f"{SETTINGS}[1].name",
    "is there twice",
)
rej("095", "setting without name", {SETTINGS: [{"name": "", "value": "1"}]}, f"{SETTINGS}[0].name", "must be given")
rej("095", "101 settings", {SETTINGS: [{"name": f"s{i}", "value": "1"} for i in range(101)]}, SETTINGS, "at most 100")
for value, says in (("-1", "out of range"), ("1e9", "integer"), ("abc", "integer"), ("NaN", "integer")):
    given = settings("multivariate-tpe", n_startup_trials=value)
    rej("096", f"n_startup_trials {value}", given, f"{SETTINGS}[n_startup_trials]", says)
rej("097", "random_state 0.5", settings("random", random_state="0.5"), f"{SETTINGS}[random_state]", "integer")
rej(
    "097",
    "random_state 2**32",
    settings("random", random_state="4294967296"),
    f"{SETTINGS}[0].value",
    "at most 4294967295",
)
ok("097", "random_state 2**32-1", settings("random", random_state="4294967295"))
PBT = {LR: {"min": "0.01", "max": "0.05", "step": "0.01"}, "spec.resumePolicy": "FromVolume"}
for value, says in (
    ("/", "belongs to the system"),
    ("/etc", "belongs"),
    ("../x", "absolute path"),
    ("/proc/1", "belongs"),
):
    rej(
        "098",
        f"suggestion_trial_dir {value}",
        {**PBT, **settings("pbt", suggestion_trial_dir=value, n_population="5", truncation_threshold="0.2")},
        f"{SETTINGS}[suggestion_trial_dir]",
        says,
    )
rej(
    "099",
    "n_population 10^9",
    {**PBT, **settings("pbt", suggestion_trial_dir="/ckpt", n_population="1000000000", truncation_threshold="0.2")},
    f"{SETTINGS}[n_population]",
    "out of range",
)
rej(
    "100",
    "hyperband that cannot fit",
    settings("hyperband", r_l="81", resource_name="layers", eta="3"),
    "spec.parallelTrialCount",
    "81",
)
rej(
    "101",
    "setting value of 100 kB",
    {f"{SETTINGS}[0].value": "1" * 100_000},
    f"{SETTINGS}[0].value",
    "longer than 4096",
)
rej("101", "setting value of 1 MB", {f"{SETTINGS}[0].value": "1" * 1_000_000}, "", "larger than 1000000 bytes")
rej("101", "setting name of 1 kB", {f"{SETTINGS}[0].name": "n" * 1000}, f"{SETTINGS}[0].name", "longer than 128")
rej(
    "101",
    "setting value with a line break",
    {f"{SETTINGS}[0].value": "1\n2"},
    f"{SETTINGS}[0].value",
    "control characters",
)
rej(
    "102",
    "early stopping unknown",
    {STOP: {"algorithmName": "medianstopp"}},
    f"{STOP}.algorithmName",
    "did you mean medianstop?",
)
rej("102", "early stopping without name", {STOP: {}}, f"{STOP}.algorithmName", "must be given")
for name, value, says in (
    ("start_step", "0", "out of range"),
    ("min_trials_required", "0", "out of range"),
    ("min_trials_required", "13", "maxTrialCount is 12"),
    ("foo", "1", "unknown setting"),
):
    rej(
        "102",
        f"medianstop {name} {value}",
        {STOP: {"algorithmName": "medianstop", "algorithmSettings": [{"name": name, "value": value}]}},
        f"{STOP}.algorithmSettings[{name}]",
        says,
    )
CUSTOM = {"kind": "Custom", "customCollector": {"name": "c", "image": "c:1"}}
for kind, collector in (("Push", {"kind": "Push"}), ("Custom", CUSTOM)):
    rej(
        "103",
        f"early stopping with {kind}",
        {STOP: {"algorithmName": "medianstop"}, "spec.metricsCollectorSpec.collector": collector},
        STOP,
        f"whose collector is {kind} cannot be stopped early",
    )
rej(
    "104",
    "resumePolicy Always",
    {"spec.resumePolicy": "Always"},
    "spec.resumePolicy",
    "not one of Never, LongRunning, FromVolume",
)
elsewhere("105", "FromVolume without storage class", "needs a cluster: no storage class is known to admission")
rej("106", "image of the suggestion", {"spec.algorithm.image": "evil/x"}, "spec.algorithm.image", "unknown field")
rej("106", "url of the suggestion", {"spec.algorithm.url": "http://x"}, "spec.algorithm.url", "unknown field")
