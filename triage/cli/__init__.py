"""``triage …``: parses and prints; plain functions do the work.

The library's own commands are here. Those of other parts come through the entry-point group ``triage.commands``: each
entry is a callable that takes the Typer app and adds its commands.
"""

from __future__ import annotations

import errno
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import triage
from triage.cli import check, classify, release
from triage.errors import TriageError

GROUP = "triage.commands"
EXIT_ERROR = 2

_EPILOG = """
**例 / Examples**

`triage classify "对方自称公检法，让我转到安全账户"`

`triage classify --input 线索.xlsx --output 结果.xlsx`

`tail -f messages.txt | triage classify - --json`

`triage check models/current`

`triage release promote 2026.12.1` · `triage release rollback`

每个命令都有自己的说明 / every command explains itself: `triage classify --help`
"""


class Commands(TyperGroup):
    """The commands, those of plug-ins included: what fails on purpose is said in one line, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TriageError as error:
            _say(error.zh, f"{error.en} [{error.code}]")
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            _say(f"系统拒绝：{error.filename or ''} {error.strerror}", f"{error.filename or ''}: {error.strerror}")
        raise typer.Exit(EXIT_ERROR)


def _say(zh: str, en: str) -> None:
    typer.echo(f"错误：{zh} / error: {en}", err=True)


app = typer.Typer(
    name="triage",
    cls=Commands,
    help="读懂城市收到的线索：是什么、多有把握、多紧急、该谁处理。\n\nReads the tips that a Chinese city receives.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.command()(classify.classify)
app.command()(check.check)
app.add_typer(release.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tip-triage {triage.__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="显示版本 / Show the version.")
    ] = False,
) -> None:
    """Options of ``triage`` itself."""


def load_commands(target: typer.Typer, found: tuple[EntryPoint, ...] | None = None) -> None:
    """Add the commands of the other parts; one that is broken is told on stderr and left out.

    Args:
        target: the app to add to.
        found: the plug-ins, by default those that are installed.
    """
    plugins = tuple(entry_points(group=GROUP)) if found is None else found
    for plugin in sorted(plugins, key=lambda item: item.name):
        before = list(target.registered_commands), list(target.registered_groups)
        try:
            plugin.load()(target)
        except Exception as error:  # a plug-in may fail in any way, and must not take the others with it
            target.registered_commands, target.registered_groups = before
            typer.echo(
                f"警告：扩展命令 {plugin.name} 未能载入（{type(error).__name__}: {error}） / "
                f"warning: the commands of {plugin.name} ({plugin.value}) could not be loaded",
                err=True,
            )


def main() -> None:
    """The console script."""
    load_commands(app)
    app(prog_name="triage")
