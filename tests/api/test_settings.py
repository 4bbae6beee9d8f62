from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.settings import PREFIX, Settings, load_settings, settings_table
from triage.errors import SettingsError


def test_defaults() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, Path("models/current"))
    assert settings.database == "sqlite:///var/triage.db"
    assert (settings.queue_tokens, settings.batch_tokens, settings.infer_workers) == (32_768, 512, 2)
    assert (settings.max_body_bytes, settings.max_text_chars) == (1_048_576, 20_000)


def test_arguments_win_over_variables_and_both_over_defaults() -> None:
    environ = {"TRIAGE_PORT": "81", "triage_host": "0.0.0.0", "PATH": "/bin", "TRIAGE_LOG_FORMAT": ""}
    settings = load_settings(environ, port=82, data_dir=None)
    assert (settings.port, settings.host, settings.log_format) == (82, "0.0.0.0", "json")


def test_the_environment_is_read_only_where_it_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_PORT", "99")
    assert Settings().port == 8000


@pytest.mark.parametrize(
    ("name", "guess"),
    [("TRIAGE_PROT", "TRIAGE_PORT"), ("TRIAGE_DATABASE", "TRIAGE_DATABASE_URL"), ("triage_hots", "TRIAGE_HOST")],
)
def test_an_unknown_variable_stops_the_start_with_a_guess(name: str, guess: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({name: "1"})
    assert error.value.zh == f"未知的环境变量 {name}，是否想写 {guess}？"
    assert error.value.en == f"unknown variable {name}; did you mean {guess}?"


def test_an_unknown_variable_like_no_other() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"TRIAGE_QQQQ": "1"})
    assert "triage serve --help" in error.value.en


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("TRIAGE_PORT", "70000", "≤ 65535"),
        ("TRIAGE_PORT", "http", "≥ 0"),
        ("TRIAGE_INFER_WORKERS", "0", "≥ 1"),
        ("TRIAGE_LOG_FORMAT", "xml", "json | console"),
        ("TRIAGE_REQUEST_TIMEOUT_S", "0", "> 0"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_limit(name: str, value: str, limit: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({name: value})
    assert f"{name} = '{value}' 无效" in error.value.zh
    assert limit in error.value.zh


def test_passwords_are_not_repeated() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({}, database_url=("secret",))
    assert "secret" not in f"{error.value}"


def test_the_queue_holds_a_batch_at_least() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"TRIAGE_QUEUE_TOKENS": "100"})
    assert error.value.en.startswith("TRIAGE_QUEUE_TOKENS must be at least TRIAGE_BATCH_TOKENS")


def test_every_setting_is_documented_in_both_languages() -> None:
    rows = settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        chinese, _, english = (field.description or "").rpartition("/ ")
        assert re.search("[\u4e00-\u9fff]", chinese), name
        assert re.search("[a-z]{4}", english), name
    assert "| `TRIAGE_PORT` | int (≥ 0, ≤ 65535) | `8000` |" in settings_table()
