"""The two READMEs against the code: commands, options, targets, settings, paths, links, figures."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from api.app import create_app
from api.schemas import ClassifyResponse
from api.settings import PREFIX, Settings, settings_table
from bench.readme import with_figures
from triage import cli
from triage.model.artifact import Release
from triage.testing import KeywordEngine

ROOT = Path(__file__).parents[2]
NAMES = ("README.md", "README.zh-CN.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")


@pytest.fixture(params=NAMES)
def readme(request: pytest.FixtureRequest) -> str:
    return text_of(request.param)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(), KeywordEngine()).openapi()


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(text) if found == language]


def prose(text: str) -> str:
    return FENCE.sub("", text)


def lines(text: str) -> list[str]:
    """What a reader may type: the lines of shell blocks, continued ones joined, and the code spans of the prose."""
    typed = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    return [line.strip() for line in (*typed, *SPAN.findall(prose(text)))]


def commands() -> Any:
    """The tree of ``triage`` with the commands of all parts; the library's own app stays as it is."""
    whole = typer.Typer()
    whole.registered_callback = cli.app.registered_callback
    whole.registered_commands = list(cli.app.registered_commands)
    whole.registered_groups = list(cli.app.registered_groups)
    cli.load_commands(whole)
    return typer.main.get_command(whole)


def options(command: Any) -> set[str]:
    """Options of a command and of those below it."""
    below = [options(child) for child in getattr(command, "commands", {}).values()]
    return {"--help", *(name for parameter in command.params for name in parameter.opts)}.union(*below)


def unknown(tree: Any, words: list[str]) -> Iterator[str]:
    """Words of one ``triage`` line that are neither a subcommand, an option nor an argument."""
    at = tree
    for word in words:
        if word.startswith("-") and word != "-":
            if word.partition("=")[0] not in options(at):
                yield word
        elif hasattr(at, "commands"):
            if word not in at.commands:
                yield word
                return
            at = at.commands[word]


def test_nothing_is_left_to_fill_in(readme: str) -> None:
    assert re.findall(r"@@\w*@@|TODO|TBD", readme) == []


def test_every_triage_command_and_option_exists(readme: str) -> None:
    tree = commands()
    typed = [shlex.split(line, comments=True)[1:] for line in lines(readme) if re.match(r"triage( |$)", line)]
    assert ["serve"] in typed
    assert [(words, word) for words in typed for word in unknown(tree, words)] == []
    bare = {span for span in SPAN.findall(prose(readme)) if re.fullmatch(r"--[a-z-]+", span)}
    assert bare - options(tree) == set()


def test_every_make_target_exists(readme: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = {match.group(1) for line in lines(readme) if (match := re.match(r"make ([a-z-]+)", line))}
    assert {"serve", "test"} <= named <= targets


def test_every_module_and_extra_exists(readme: str) -> None:
    modules = {match.group(1) for line in lines(readme) if (match := re.match(r"python3? -m ([a-z.]+)", line))}
    assert [name for name in modules - {"pip", "venv"} if importlib.util.find_spec(name) is None] == []
    extras = {name for found in re.findall(r"'?\.\[([a-z,]+)\]", readme) for name in found.split(",")}
    assert extras <= set(tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"])


def test_the_settings_are_those_of_the_code(readme: str) -> None:
    assert settings_table() in readme
    fields = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", readme)) <= fields


def test_the_makefile_sets_no_variable_that_stops_serve() -> None:
    fields = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+(?==)", text_of("Makefile"))) <= fields


def test_links_lead_somewhere(readme: str) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose(readme))]
    inside = {link for link in links if link and not re.match(r"[a-z]+:", link)}
    assert inside
    assert [link for link in sorted(inside) if not (ROOT / link).exists()] == []


def test_both_languages_have_the_same_shape() -> None:
    english, chinese = map(text_of, NAMES)

    def levels(text: str) -> list[str]:
        return re.findall(r"^#+(?= )", prose(text), re.MULTILINE)

    assert levels(english) == levels(chinese)
    assert [name for name, _ in FENCE.findall(english)] == [name for name, _ in FENCE.findall(chinese)]
    assert [blocks(english, name) for name in ("sh", "json")] == [blocks(chinese, name) for name in ("sh", "json")]


def test_both_languages_give_the_same_figures() -> None:
    english, chinese = ([row for _, row in figures(text_of(name), known_figures())] for name in NAMES)
    assert english == chinese


def test_the_figures_of_the_release_stand_in_both(readme: str) -> None:
    bench = json.loads((ROOT / "bench" / "results" / "published.json").read_text(encoding="utf-8"))
    manifest = Release.open(ROOT / "models" / "current").manifest
    assert with_figures(readme, manifest, bench) == readme


def test_python_blocks_run(readme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = blocks(readme, "python")
    assert found
    for block in found:
        exec(compile(block, "README", "exec"), {})


def test_answers_that_are_shown_are_answers(readme: str) -> None:
    found = blocks(readme, "json")
    assert found
    for block in found:
        ClassifyResponse.model_validate_json(block)


def test_paths_are_those_of_the_application(readme: str, document: dict[str, Any]) -> None:
    named = {(method.lower(), path) for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/[^`\s]*)`", readme)}
    served = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert named == served | {("get", "/openapi.json")}


def test_the_openapi_document_has_chinese_examples(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/classify"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    answer = operation["responses"]["200"]["content"]["application/json"]
    assert re.search("[\u4e00-\u9fff]{8}", body["example"]["inputs"][0])
    assert re.search("[\u4e00-\u9fff]{3}", answer["example"]["decisions"][0]["unit"])
    assert re.search("[\u4e00-\u9fff]{8}", body["schema"]["properties"]["inputs"]["examples"][0][0])


def known_figures() -> dict[str, float]:
    """Ratios, and the plain numbers beside them, of the last measurement."""
    result = json.loads((ROOT / "bench" / "results" / "published.json").read_text(encoding="utf-8"))
    plain = {key: value for key, value in result.items() if isinstance(value, int | float)}
    return {**plain, **result["ratios"]}


def figures(text: str, known: dict[str, float]) -> list[tuple[str, tuple[str, str]]]:
    """Rows of the tables whose first column names figures by their keys: (row, (key, value))."""
    rows = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
        keyed = [(row, match.group(1)) for row in cells if (match := re.search(r"`([a-z0-9_]+)`", row[0]))]
        if {key for _, key in keyed} & known.keys():
            rows += [(" ".join(row), (key, row[1])) for row, key in keyed]
    return rows


def test_figures_are_those_that_were_measured(readme: str) -> None:
    known = known_figures()
    found = figures(readme, known)
    assert "engine_vs_pipeline" in [key for _, (key, _) in found]
    for row, (key, shown) in found:
        number = re.search(r"-?\d[\d,]*(?:\.(\d+))?", shown)
        assert number, row
        value = known[key] * (100 if "%" in shown else 1)
        assert number.group().replace(",", "") == f"{value:.{len(number.group(1) or '')}f}", row
