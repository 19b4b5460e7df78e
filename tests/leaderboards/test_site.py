"""A leaderboard as files: what the pages say, that nothing is missing or fetched, and the numbers behind the plots."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from harness import cli
from leaderboards import plots
from leaderboards.marks import HUES, SHAPES, Mark, marks
from leaderboards.page import places, slug
from leaderboards.radar import HUB, MIDDLE, RIM, radar_plot
from leaderboards.rank import Contest, Leaderboard, pareto, table, wins
from leaderboards.show import latex
from leaderboards.site import write_site
from tests.leaderboards.runs import M, write_cell, write_suite

UP, DOWN = M("toy/up"), M("toy/down", higher_is_better=False, range=(0.0, 9.0))
THIRD, SIZE = M("toy/third"), M("toy/size", higher_is_better=None, unit="px")
N = 12


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """good beats bad by far; a row with a hostile name is partial."""
    folder = write_suite(tmp_path_factory.mktemp("runs"), ["bad", "good+1", "odd <i>&"], [UP, DOWN, THIRD, SIZE], N)
    line = [0.01 * i for i in range(N)]
    for row, gain in (("bad", 0.0), ("good+1", 0.4)):
        values = {
            UP: [x + gain for x in line], DOWN: [2 - gain + x for x in line], THIRD: [0.5 + gain - x for x in line],
            SIZE: line,
        }  # fmt: skip
        write_cell(folder, row, values, video=True)
    write_cell(folder, "odd <i>&", {UP: [0.3, None], DOWN: [1.0, 1.0], THIRD: [0.1, 0.1], SIZE: [0.1, 0.1]}, video=True)
    return table(folder)


@pytest.fixture(scope="module")
def site(board: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert write_site(board, folder, {"toy/up": "How far up <it> goes."}) == folder / "index.html"
    return folder


class Reader(HTMLParser):
    """Addresses that a page refers to, and whether its tags are balanced."""

    VOID = {"meta", "link", "input", "br", "img", "line", "circle", "polyline", "polygon"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in {"href", "src", "data-src"} and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def test_every_page_is_whole_and_everything_it_names_is_there(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 1 + 3 + N
    for page in pages:
        text = page.read_text(encoding="utf-8")
        read = Reader(text)
        assert read.open == [], page
        assert "://" not in text, page  # nothing is fetched from elsewhere
        for address in read.addresses:
            parts = urlsplit(address)
            assert not parts.netloc
            assert (page.parent / unquote(parts.path)).is_file(), f"{page.name} names {address}"
    assert len(list((site / "media").rglob("*.mp4"))) == 2 * N + 2


def test_the_table_has_the_boards_numbers(board: Leaderboard, site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    bodies = dict(re.findall(r'<tbody data-kind="(\w+)">(.*?)</tbody>', text))
    assert list(bodies) == ["complete", "partial"]
    rows = re.findall(r"<tr>.*?</tr>", bodies["complete"])
    assert len(rows) == 2
    assert "odd &lt;i&gt;&amp;" in bodies["partial"]
    assert "Partial</b>" in bodies["partial"]
    value = board.values["good+1", "toy/up"].estimate
    assert f'data-value="{value.mean:.9g}"' in rows[0]
    assert f"<i>±{(value.high - value.low) / 2:.3f}</i>" in rows[0]
    assert "<sup>2</sup>" in rows[1]  # bad
    assert "How far up &lt;it&gt; goes." in text
    assert "odd &lt;i&gt;&amp;" in text
    assert "<i>&" not in text


def test_exporting_again_changes_nothing(board: Leaderboard, site: Path) -> None:
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    write_site(board, site, {"toy/up": "How far up <it> goes."})
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


def test_wins_count_prompts_and_ties_half() -> None:
    scores = np.array([[[1.0], [2.0], [3.0], [np.nan]], [[0.0], [2.0], [4.0], [9.0]]])
    contest = Contest(("a", "b"), scores, np.ones((2, 2)))
    assert wins(contest, True) == pytest.approx(np.array([[np.nan, 0.5], [0.5, np.nan]]), nan_ok=True)
    contest = Contest(("a", "b"), np.array([[[1.0], [2.0]], [[0.0], [2.0]]]), np.ones((2, 2)))
    assert wins(contest, True)[0, 1] == 0.75
    assert wins(contest, False)[0, 1] == 0.25


def test_a_prompts_samples_count_together() -> None:
    scores = np.array([[[1.0, 0.0]], [[0.4, 0.4]]])  # one prompt, two seeds: 1.0 against 0.8 in all
    assert wins(Contest(("a", "b"), scores, np.ones((2, 2))), True)[0, 1] == 1.0


@pytest.mark.parametrize(
    ("nfe", "up", "front"),
    [
        ([4, 50, 8], [0.2, 0.9, 0.5], ["a", "c", "b"]),
        ([4, 50, 8], [0.2, 0.9, 0.1], ["a", "b"]),
        ([4, 50, 50], [0.95, 0.9, 0.1], ["a"]),
        ([4, 50, 50], [0.2, 0.9, 0.5], ["a", "b"]),  # as dear and worse
        ([4, 4, 8], [0.3, 0.3, 0.1], ["a", "b"]),  # equal points do not beat each other
    ],
)
def test_pareto_front(nfe: list[int], up: list[float], front: list[str], tmp_path: Path) -> None:
    folder = write_suite(tmp_path, ["a", "b", "c"], [UP, DOWN], N)
    for row, mean in zip("abc", up, strict=True):
        write_cell(folder, row, {UP: [mean] * N, DOWN: [1 - mean] * N})
    found = table(folder)
    for entry in found.entries:
        entry.cost["nfe"] = nfe["abc".index(entry.label)]  # type: ignore[index]
    assert list(pareto(found, found.columns[0], "nfe")) == front
    assert list(pareto(found, found.columns[1], "nfe")) == front  # lower is better there


def test_points_stand_where_their_numbers_say(board: Leaderboard) -> None:
    svg = plots.pareto_plot(board, board.columns[0], "generate_s")
    dots = re.findall(r'data-row="([^"]+)">.*?translate\([\d.]+ ([\d.]+)\)', svg)
    heights = {row: float(y) for row, y in dots}
    means = {label: board.values[label, "toy/up"].estimate.mean for label in ("bad", "good+1")}
    assert heights["good+1"] < heights["bad"]  # up is up
    scale = (heights["bad"] - heights["good+1"]) / (means["good+1"] - means["bad"])
    low, high = (board.values["bad", "toy/up"].estimate.low, board.values["bad", "toy/up"].estimate.high)
    bar = re.search(r'data-row="bad">.*?<line class="bar" x1="[\d.]+" x2="[\d.]+" y1="([\d.]+)" y2="([\d.]+)"', svg)
    assert bar is not None
    assert float(bar[1]) - float(bar[2]) == pytest.approx(scale * (high - low), abs=0.11)


def test_a_radar_runs_from_worst_to_best(board: Leaderboard) -> None:
    svg = radar_plot(board, board.columns)
    shapes = dict(re.findall(r'data-row="([^"]+)">.*?<polygon points="([^"]+)"', svg))
    assert set(shapes) == {"bad", "good+1"}  # complete rows
    radii = {
        row: [np.hypot(*(np.array(point.split(","), float) - MIDDLE)) for point in points.split(" ")]
        for row, points in shapes.items()
    }
    assert radii["good+1"] == pytest.approx([RIM] * 3, abs=0.1)
    assert radii["bad"] == pytest.approx([HUB] * 3, abs=0.1)
    assert radar_plot(board, board.columns[:2]) == ""  # two spokes are no picture


def test_latex_is_a_table_of_complete_rows(board: Leaderboard) -> None:
    text = latex(board)
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert lines[0] == "\\begin{tabular}{lrrr}"
    assert lines[2] == "method & up $\\uparrow$ & down $\\downarrow$ & third $\\uparrow$ \\\\"
    assert [line.split(" & ")[0] for line in lines[4:-2]] == ["good+1", "bad"]
    assert "\\mathbf{0.455}" in lines[4]


def test_export_writes_what_it_was_asked_for(
    board: Leaderboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = str(board.folder.parent)
    words = ["--csv", str(tmp_path / "a.csv"), "--latex", str(tmp_path / "a.tex"), "--site", str(tmp_path / "s")]
    monkeypatch.setattr("sys.argv", ["mutoscope", "export", "quick", "--runs", runs, *words])
    cli.main()
    assert (tmp_path / "a.csv").read_text().startswith("row,method,config,status")
    assert (tmp_path / "s" / "index.html").exists()
    monkeypatch.setattr("sys.argv", ["mutoscope", "export", "quick", "--runs", runs])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "--site DIR" in capsys.readouterr().err


def test_win_matrices_and_plots_are_scripts_beside_the_page(board: Leaderboard, site: Path) -> None:
    text = (site / "wins" / "0.js").read_text()
    told = json.loads(text.removeprefix('part("wins/0.js", ').removesuffix(");\n"))
    assert told["labels"] == ["good+1", "bad"]
    assert told["won"] == [-1, 100, 0, -1]
    assert told["p"][1] == float(f"{board.contests['toy/up'].adjusted[0, 1]:.2g}")
    names = {path.name for path in (site / "plots").iterdir()}
    assert names == {f"{number}-{cost}.js" for number in range(3) for cost in ("nfe", "generate_s")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "a-b"), ("a/b", "a-b"), ("TQD", "tqd"), ("模型", "方法"), ("<b>", "'b'"), (".", ".."), ("", "x"),
        ("x" * 300, "x" * 301), ("../../etc/passwd", "etc-passwd"), ("a\u202eb", "ab"), ("\ud800", "\ud801"),
        ("\n", "\t"),
    ],
)  # fmt: skip
def test_file_names_are_safe_and_differ(one: str, other: str) -> None:
    for text in (one, other):
        name = slug(text)
        assert re.fullmatch(r"[\w.+@-]{1,100}", name)
        assert not name.startswith(".")
        assert name == slug(text)
    assert slug(one).lower() != slug(other).lower()
    assert slug("0001-a-white-ring_v2.0+tr@2739f920") == "0001-a-white-ring_v2.0+tr@2739f920"


def test_a_name_that_climbs_stays_in_the_folder(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "runs", ["ok", "up"], [UP], 2)
    write_cell(folder, "ok", {UP: [0.1, 0.2]}, video=True)
    cell = write_cell(folder, "up", {UP: [0.3, 0.4]}, video=True) / "cell.json"
    cell.write_text(cell.read_text().replace('"row": "up"', '"row": "../../outside"'))
    write_site(table(folder), tmp_path / "site", {})
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "site"}
    assert len(list((tmp_path / "site" / "rows").iterdir())) == 2


def test_marks_are_one_a_row_whatever_the_order() -> None:
    labels = [f"row {i:02d}" for i in range(len(HUES) * len(SHAPES))]
    found = marks(labels[::-1])
    assert found[labels[3]] == Mark(3)
    assert len({(mark.colour, mark.path(5)) for mark in found.values()}) == 35
    assert found[labels[0]].colour == found[labels[len(HUES)]].colour
    shades = [mark.shade for mark in found.values()]
    assert len(set(shades)) == 35
    assert [found[labels[i]].shade for i in (0, 7, 14)] == ["#4477aa", "#98b4d0", "#294766"]
    css = (Path(marks.__code__.co_filename).parent / "web" / "page.css").read_text()
    assert re.findall(r"--hue\d: light-dark\((#\w+)", css) == list(HUES)


def test_names_keep_a_line_apart_and_their_order() -> None:
    assert plots._apart([10.0, 100.0]) == [10.0, 100.0]
    assert plots._apart([50.0, 50.0, 50.0]) == pytest.approx([36.0, 50.0, 64.0])
    assert plots._apart([0.0, 1.0, 200.0]) == pytest.approx([-6.5, 7.5, 200.0])


def test_only_the_front_is_named_among_many(tmp_path: Path) -> None:
    names = [f"m{i:02d}" for i in range(plots.NAMED + 1)]
    folder = write_suite(tmp_path, names, [UP], 2)
    for number, name in enumerate(names):
        write_cell(folder, name, {UP: [0.01 * number, 0.01 * number + 0.1]}, config={"lr": number})
    found = table(folder)
    svg = plots.pareto_plot(found, found.columns[0], "nfe")
    assert re.findall(r"<text [^>]*>(m\d+)</text>", svg) == [names[-1]]  # all cost the same: the best one
    assert svg.count('data-row="') == len(names)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.99, 0.5], 3), ([0.11], 4), ([81.2], 1), ([0.0, 0.0], 3), ([], 3), ([1e-9], 6), ([4e5], 0)],
)
def test_decimals_of_scores(values: list[float], expected: int) -> None:
    assert places(values) == expected
