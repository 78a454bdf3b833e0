"""export, report and plot as a user calls them, over an experiment with hostile values and a failed trial."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from kuttab.cli import main
from kuttab.sdk import exchange, plots
from wire import shell

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>"
PROGRAM = "\n".join([
    "import sys",
    "x, c = float(sys.argv[1]), sys.argv[2]",
    "print('<script>alert(2)</script> \\x1b[31mred & \"quoted\"')",
    "for i in range(3): print(f'loss={x + 3 - i}')",
    "print('=cmd|calc')",
    "sys.exit(3 if c.startswith('=') else 0)",
])  # fmt: skip
CHOICES = [HOSTILE, "=HYPERLINK(1)", "plain"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> shell.Shell:
    """A folder in which the experiment ``hostile`` has run."""
    data = tmp_path_factory.mktemp("data")
    document = shell.manifest(
        PROGRAM, name="hostile", arguments=["${trialParameters.x}", "${trialParameters.c}"], maxTrialCount=6
    )
    spec = document["spec"]
    spec["algorithm"] = {"algorithmName": "grid"}
    spec["parameters"] = [
        {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1", "step": "1"}},
        {"name": "c", "parameterType": "categorical", "feasibleSpace": {"list": CHOICES}},
    ]
    spec["trialTemplate"]["trialParameters"] = [{"name": name, "reference": name} for name in "xc"]
    found = shell.Shell(data)
    done = found("run", shell.write(data, document), "--quiet")
    assert done.code == 0, done.err
    return found


Inside = Callable[..., shell.Done]


@pytest.fixture
def inside(command: shell.Shell, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The program called in this process: what a command does, without the cost of starting Python each time."""
    monkeypatch.setenv("KUTTAB_HOME", str(command.data))

    def call(*arguments: object) -> shell.Done:
        code = main.guarded(lambda: main.app([*map(str, arguments)], standalone_mode=False))
        out, err = capfd.readouterr()
        return shell.Done(code, out, err)

    return call


def test_export_prints_csv_without_formulas(command: shell.Shell) -> None:
    """A row per trial; values that a spreadsheet would run are quoted; the same table is a source for a warm start."""
    done = command("export", "hostile")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert done.code == 0
    assert len(rows) == 6
    assert {row["c"] for row in rows} == {HOSTILE, "'=HYPERLINK(1)", "plain"}
    assert sorted(row["loss"] for row in rows if row["state"] == "Succeeded") == ["1.0"] * 2 + ["2.0"] * 2


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.parquet"])
def test_export_writes_by_the_files_ending(name: str, inside: Inside, tmp_path: Path) -> None:
    """The ending chooses the form; every form holds all trials."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    done = inside("export", "hostile", "-o", tmp_path / name)
    assert done.code == 0, done.err
    assert f"6 trials written to {tmp_path / name}" in done.err
    if name.endswith("csv"):
        assert len(exchange.of_csv(tmp_path / name).rows) == 6
    elif name.endswith("json"):
        assert len(json.loads((tmp_path / name).read_text())["trials"]) == 6
    else:
        from pyarrow import parquet

        assert parquet.read_table(tmp_path / name).column("c").to_pylist().count(HOSTILE) == 2


def test_a_manifest_starts_from_an_exported_config_map(inside: Inside, tmp_path: Path) -> None:
    """The ConfigMap and an experiment that names it are one file; it runs, and another space is refused or warned about."""
    config_map = yaml.safe_load(inside("export", "hostile", "-f", "configmap").out)
    arguments = ["${trialParameters.x}", "${trialParameters.c}"]
    warm = {"configMapName": config_map["metadata"]["name"]}
    document = shell.manifest("print('loss=1')", name="warm", arguments=arguments, warmStart=warm)
    document["spec"]["algorithm"] = {"algorithmName": "tpe"}
    document["spec"]["trialTemplate"]["trialParameters"] = [{"name": name, "reference": name} for name in "xc"]
    document["spec"]["parameters"] = [
        {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0.5", "max": "1"}},
        {"name": "c", "parameterType": "categorical", "feasibleSpace": {"list": CHOICES}},
    ]
    both = shell.write(tmp_path, yaml.safe_dump_all([config_map, document]))
    checked = inside("validate", both)
    assert checked.code == 0, checked.err
    assert "3 of 6 earlier results lie outside this space and are left out" in checked.err
    ran = inside("run", both, "--data", tmp_path / "data", "--quiet")
    assert ran.code == 0, ran.err
    document["spec"]["parameters"][1]["name"] = "d"
    refused = inside("validate", shell.write(tmp_path, yaml.safe_dump_all([config_map, document])))
    assert refused.code == 2
    assert "spec.warmStart.configMapName: the earlier results have the parameters" in refused.err


def test_export_to_optuna(inside: Inside, tmp_path: Path) -> None:
    """The study is in the storage under the experiment's name."""
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    url = f"sqlite:///{tmp_path}/study.db"
    done = inside("export", "hostile", "-f", "optuna", "-o", url)
    assert done.code == 0, done.err
    assert len(optuna.load_study(study_name="hostile", storage=url).trials) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "nope"], "no experiment named nope"),
        (["export", "hostile", "-o", "x.xlsx"], "expected one of csv, json, parquet, configmap, optuna, mlflow"),
        (["export", "hostile", "-f", "parquet"], "parquet needs a file"),
        (["export", "hostile", "-o", "/no/such/folder/x.csv"], "cannot be written: No such file or directory"),
        (["plot", "hostile", "histroy", "-o", "x.svg"], "did you mean history?"),
        (["plot", "hostile", "history", "-o", "x.gif"], "give the file one of these endings"),
        (["plot", "hostile", "history", "-o", "x.svg", "--parameters", "x,c"], "belongs to contour"),
        (["plot", "hostile", "contour", "-o", "x.svg", "--parameters", "x,nope"], "no parameter 'nope'"),
        (["report", "hostile", "-o", "/no/such/folder/r.html"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake is told in one line; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    done = inside(*arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_every_plot_is_written(inside: Inside, tmp_path: Path) -> None:
    """Each kind gives an SVG file that parses; curves are those of the observation log."""
    for kind in plots.KINDS:
        done = inside("plot", "hostile", kind, "-o", tmp_path / f"{kind}.svg")
        assert done.code == 0, done.err
        ElementTree.parse(tmp_path / f"{kind}.svg")
    assert (tmp_path / "curves.svg").read_text().count('class="k-thread"') == 4


@pytest.fixture(scope="module")
def page_file(command: shell.Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the experiment."""
    path = tmp_path_factory.mktemp("report") / "r.html"
    done = command("report", "hostile", "-o", path)
    assert done.code == 0, done.err
    return path


def test_the_report_escapes_what_is_hostile(page_file: Path) -> None:
    """Values and logs stand in the page as text; the page may run one script, its own, and fetch nothing."""
    text = page_file.read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;script&gt;alert(2)" in text
    assert "\x1b" not in text
    assert text.count("<script") == 1
    assert "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


@pytest.fixture
def browser() -> Iterator[Any]:
    """A headless Chromium of the system."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_works_in_a_browser(scheme: Any, browser: Any, page_file: Path) -> None:
    """Nothing is logged, nothing is fetched, no dialog opens; plots are visible, hovering tells a trial, columns sort."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 900})
    logged: list[str] = []
    fetched: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda problem: logged.append(str(problem)))
    page.on("dialog", lambda dialog: (logged.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(page_file.as_uri())
    assert page.locator("h1").inner_text().startswith("hostile")
    for kind in ("history", "parallel", "slice", "edf", "curves"):
        box = page.locator(f"#plot-{kind} svg").bounding_box()
        assert box is not None, kind
        assert box["width"] > 300, kind
    dot = page.locator("#plot-history circle.k-trial.k-point").first
    dot.hover()
    assert "loss = " in page.locator("#tip").inner_text()
    head = page.locator("table.sort th", has_text="loss").last
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    column = page.locator("table.sort th").all_inner_texts().index("loss ↑".replace(" ↑", ""))
    cells = [row.locator("td").nth(column).inner_text() for row in page.locator("table.sort tbody tr").all()]
    numbers = [float(cell) for cell in cells if cell]
    assert numbers == sorted(numbers)
    assert not logged
    assert fetched == [page_file.as_uri()]
    page.close()
