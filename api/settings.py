"""Settings of the service: name, type, default and help of each; read from ``TRIAGE_*`` variables.

``python -m api.settings`` prints them as a Markdown table.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from triage.errors import SettingsError
from triage.model.encoder import TOKEN_BUDGET

PREFIX: Final = "TRIAGE_"
# Values of these may hold passwords and never stand in a message.
SECRET: Final = frozenset({"database_url"})


class Settings(BaseSettings):
    """How the service runs. Every field is a variable ``TRIAGE_<NAME>``; arguments win over variables."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    model: Annotated[Path, Field(description="模型版本文件夹 / release folder")] = Path("models/current")
    host: Annotated[str, Field(min_length=1, description="监听地址 / address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="监听端口，0 为任选 / port; 0 picks a free one")] = 8000
    data_dir: Annotated[
        Path, Field(description="数据库等运行数据的文件夹 / folder of the database and other run-time data")
    ] = Path("var")
    database_url: Annotated[
        str,
        Field(
            description="数据库地址 sqlite:/// 或 postgresql://，空为 data_dir 下的 triage.db"
            " / database URL; empty means triage.db in data_dir"
        ),
    ] = ""
    infer_workers: Annotated[
        int, Field(ge=1, le=64, description="同时运行的批次数，宜为核数 / batches run at once; use the core count")
    ] = 2
    batch_tokens: Annotated[
        int,
        Field(ge=64, le=TOKEN_BUDGET, description="一批的词元上限（含补齐）/ tokens in one batch, padding included"),
    ] = TOKEN_BUDGET
    queue_tokens: Annotated[
        int,
        Field(ge=64, description="排队词元上限，超过返回 429 / tokens that may wait; beyond it the answer is 429"),
    ] = 32_768
    request_timeout_s: Annotated[
        float,
        Field(gt=0, le=600, description="请求时限（秒），请求头可缩短 / seconds for a request; a header shortens it"),
    ] = 10.0
    drain_s: Annotated[
        float, Field(ge=0, le=600, description="停止时等待已接受请求的秒数 / seconds to finish accepted work on stop")
    ] = 15.0
    max_body_bytes: Annotated[
        int, Field(ge=1024, le=2**30, description="请求体字节上限，超过返回 413 / bytes of a request body (413)")
    ] = 1_048_576
    max_text_chars: Annotated[
        int, Field(ge=1, le=10_000_000, description="单条文本字符上限，超过返回 413 / characters of one text (413)")
    ] = 20_000
    key_cache_s: Annotated[
        float, Field(ge=0, le=300, description="吊销密钥后最多还有效的秒数 / seconds until a revoked key is refused")
    ] = 5.0
    metrics_open: Annotated[
        bool,
        Field(
            description="true：任何人可读 /metrics；false：本机免密钥，其他地址须带密钥"
            " / true: /metrics is open; false: a key is needed unless the request comes from this machine"
        ),
    ] = False
    log_format: Annotated[
        Literal["json", "console"], Field(description="日志格式 / format of the log lines on stderr")
    ] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="日志级别 / least severe level that is logged")
    ] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone; ``load_settings`` hands the variables over, so that tests never see the environment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _batch_fits_queue(self) -> Self:
        if self.queue_tokens < self.batch_tokens:
            raise ValueError(f"queue_tokens must be at least batch_tokens ({self.batch_tokens})")
        return self

    @property
    def database(self) -> str:
        """The URL of the database, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'triage.db'}"


def load_settings(environ: Mapping[str, str], **arguments: Any) -> Settings:
    """Settings from variables and arguments.

    Args:
        environ: usually ``os.environ``; only ``TRIAGE_*`` is read.
        arguments: by field name; None means not given.

    Raises:
        SettingsError: a ``TRIAGE_*`` variable is unknown, or a value is out of range.
    """
    values: dict[str, Any] = {}
    for variable, value in environ.items():
        # ``TRIAGE_X=`` is how compose files say "not set".
        if variable.upper().startswith(PREFIX) and value:
            values[_field_of(variable)] = value
    values |= {name: value for name, value in arguments.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _wrong(error) from error


def _field_of(variable: str) -> str:
    name = variable.upper().removeprefix(PREFIX).lower()
    if name in Settings.model_fields:
        return name
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.5)
    guess = f"{PREFIX}{near[0].upper()}" if near else ""
    raise SettingsError(
        f"未知的环境变量 {variable}，" + (f"是否想写 {guess}？" if guess else "请删除它，可用的见 triage serve --help"),
        f"unknown variable {variable}; " + (f"did you mean {guess}?" if guess else "unset it, see triage serve --help"),
    )


def _wrong(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return SettingsError(
            "TRIAGE_QUEUE_TOKENS 不能小于 TRIAGE_BATCH_TOKENS，请调大前者或调小后者",
            "TRIAGE_QUEUE_TOKENS must be at least TRIAGE_BATCH_TOKENS; raise the one or lower the other",
        )
    name = str(first["loc"][0])
    field = Settings.model_fields.get(name)
    given = "" if name in SECRET else f" = {first['input']!r}"
    limits = f"（{limits_of(field)}）" if field and limits_of(field) else ""
    variable = f"{PREFIX}{name.upper()}"
    return SettingsError(f"设置 {variable}{given} 无效{limits}", f"bad setting {variable}{given}: {first['msg']}")


def limits_of(field: FieldInfo) -> str:
    """The range of a field, such as ``≥ 1, ≤ 64`` or ``json | console``; empty where every value will do."""
    choices = get_args(field.annotation)
    if choices:
        return " | ".join(map(str, choices))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [(sign, getattr(rule, key, None)) for rule in field.metadata for key, sign in signs.items()]
    return ", ".join(f"{sign} {value}" for sign, value in found if isinstance(value, int | float))


def settings_table() -> str:
    """All settings as a Markdown table."""
    lines = ["| 变量 / variable | 类型 / type | 默认 / default | 说明 / meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        kind = getattr(field.annotation, "__name__", "str")
        kind = "choice" if get_args(field.annotation) else kind
        limits = limits_of(field).replace("|", "\\|")
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        shown = f"`{default}`" if default else "—"
        kind = f"{kind} ({limits})" if limits else kind
        lines.append(f"| `{PREFIX}{name.upper()}` | {kind} | {shown} | {field.description} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(settings_table() + "\n")
