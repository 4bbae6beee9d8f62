"""``make bench``: the speed of this system beside the usual ways, one run, one machine, one table.

python -m bench                       500 messages of the corpus
python -m bench --texts a.jsonl …     the same from other files with a "text" in each row
python -m bench --quick               fewer rounds, shorter loads; for a look, not for a figure
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import messages, offline, peak
from bench.bare import dynamic_graph
from bench.load import Load, load
from bench.servers import Server, free_port, running
from triage import Triage
from triage.model.artifact import resolve

ROOT = Path(__file__).parent.parent
CLIENTS = (1, 8, 64)
PIPELINE, SORTED = "transformers.pipeline, fp32, batch 32", "the same, sorted by length"
ENGINE, ENCODER = "engine", "engine, encoder alone"

say = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _parser().parse_args(arguments)
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    engine = Triage.load(options.model)
    texts, lengths = _texts(engine, options.texts or sorted((ROOT / "data" / "corpus").glob("*.jsonl")))
    say.print(
        f"{len(texts)} messages, tokens: mean {statistics.mean(lengths):.0f}, median {statistics.median(lengths)}"
    )
    result: dict[str, Any] = {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "model": engine.version,
        "texts": [path.name for path in options.texts] or ["data/corpus"],
        "messages": len(texts),
        "tokens": {"mean": statistics.mean(lengths), "median": statistics.median(lengths), "max": max(lengths)},
    }
    weights = _weights(options, engine.version)
    result |= _offline(engine, texts, lengths, weights, rounds)
    say.print("HTTP …")
    result |= _online(options.model, weights, texts, seconds)
    result["ratios"] = _ratios(result)
    _print(result)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say.print(f"→ {options.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed beside transformers.pipeline.")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "current", help="release folder")
    parser.add_argument("--weights", type=Path, help="transformers folder of the same network; default runs/ or base")
    parser.add_argument("--texts", type=Path, nargs="+", default=[], help=".jsonl files instead of the corpus")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the offline part; the best counts")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each HTTP load")
    parser.add_argument("--quick", action="store_true", help="one round, three seconds")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "latest.json", help="where to write")
    return parser


def _weights(options: argparse.Namespace, version: str) -> Path:
    """The same network for torch: the release's own weights where they are kept, else its base (same speed)."""
    kept = ROOT / "runs" / version / "hf"
    found: Path = options.weights or (kept if kept.is_dir() else ROOT / "models" / "base")
    for name in ("config.json", "tokenizer.json"):
        if not (found / name).is_file():
            sys.exit(f"no {name} in {found}: run `make base`, or name a transformers folder with --weights")
    return found


def _texts(engine: Triage, paths: Sequence[Path]) -> tuple[list[str], list[int]]:
    """The messages, cut at one window so that every competitor reads the same, and their tokens."""
    candidates = messages.read(paths)
    prepared = engine.prepare(candidates)
    chosen = messages.choose(candidates, [item.tokens for item in prepared])
    first = {text: item.windows[0].read[1] for text, item in zip(candidates, prepared, strict=True) if item.windows}
    texts = [text[: first[text]] for text in chosen]
    return texts, [item.tokens for item in engine.prepare(texts)]


def _offline(
    engine: Triage, texts: Sequence[str], lengths: Sequence[int], weights: Path, rounds: int
) -> dict[str, Any]:
    classify = offline.transformers_pipeline(weights)
    by_length = sorted(texts, key=len, reverse=True)
    windows = [window for item in engine.prepare(texts) for window in item.windows]
    runs = {
        PIPELINE: lambda: classify(texts),
        SORTED: lambda: classify(by_length),
        ENGINE: lambda: engine.classify(texts),
        ENCODER: lambda: engine.infer(windows),
    }
    engine.classify(texts[:64])
    classify(texts[:32])
    say.print("offline …")
    rates = offline.alternate(runs, len(texts), rounds)
    peaks = [peak.int8_peak() for _ in range(rounds)]
    work = sum(peak.message_operations(length) for length in lengths) / len(lengths)
    return {
        "offline": [asdict(rate) for rate in rates],
        "int8_peak_gops": max(peaks) / 1e9,
        "operations_per_message": work,
        "engine_single_p50_ms": offline.single_latency(engine, texts[:200]) * 1000,
    }


def _online(model: Path, weights: Path, texts: Sequence[str], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        key = subprocess.run(
            [_triage(), "keys", "create", "bench", "--data-dir", scratch],
            check=True,
            capture_output=True,
            text=True,
        )
        port = free_port()
        settings = {"TRIAGE_MODEL": str(model), "TRIAGE_DATA_DIR": scratch, "TRIAGE_PORT": str(port)}
        with running([_triage(), "serve"], port, settings) as server:
            ours = _loads(server, key.stdout.strip(), texts, seconds)
            memory, ready = server.resident_bytes(), server.ready_s
        graph = dynamic_graph(weights, ROOT / "data", Path(scratch))
        bare = {}
        for name, variables in (("http_bare", {"BENCH_GRAPH": str(graph)}), ("http_bare_same_graph", {})):
            port = free_port()
            settings = {"BENCH_MODEL": str(resolve(model)), "BENCH_PORT": str(port), **variables}
            with running(["-m", "bench.bare"], port, settings) as server:
                bare[name] = _loads(server, "", texts, seconds)
    return {"http": ours, **bare, "ready_s": ready, "resident_mb": memory / 1e6}


def _triage() -> str:
    return str(Path(sys.executable).with_name("triage"))


def _loads(server: Server, key: str, texts: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    url = f"{server.url}/v1/classify"
    load(url, key, texts, 8, 1.0)
    found: list[Load] = []
    for clients in CLIENTS:
        found.append(load(url, key, texts, clients, seconds))
        time.sleep(0.2)
    return [asdict(item) for item in found]


def _ratios(result: dict[str, Any]) -> dict[str, float]:
    rate = {item["name"]: item["per_second"] for item in result["offline"]}
    ours = {item["clients"]: item for item in result["http"]}
    bare = {item["clients"]: item for item in result["http_bare"]}
    same = {item["clients"]: item for item in result["http_bare_same_graph"]}
    work = result["operations_per_message"]
    return {
        "engine_vs_pipeline": rate[ENGINE] / rate[PIPELINE],
        "engine_vs_sorted_pipeline": rate[ENGINE] / rate[SORTED],
        "engine_share_of_int8_peak": rate[ENGINE] * work / 1e9 / result["int8_peak_gops"],
        "encoder_share_of_int8_peak": rate[ENCODER] * work / 1e9 / result["int8_peak_gops"],
        "http_64_vs_engine": ours[64]["per_second"] / rate[ENGINE],
        "http_64_vs_bare": ours[64]["per_second"] / bare[64]["per_second"],
        "http_64_vs_bare_same_graph": ours[64]["per_second"] / same[64]["per_second"],
        "http_64_vs_pipeline": ours[64]["per_second"] / rate[PIPELINE],
        "http_1_p50_vs_engine": ours[1]["p50"] * 1000 / result["engine_single_p50_ms"],
    }


def _machine() -> dict[str, object]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version()}


def _print(result: dict[str, Any]) -> None:
    table = Table("", "messages/s", "p50 ms", "p95 ms", title=f"{result['machine']['processor']}, {result['model']}")
    for item in result["offline"]:
        table.add_row(item["name"], f"{item['per_second']:.1f}")
    table.add_row("engine, one message at a time", "", f"{result['engine_single_p50_ms']:.1f}")
    servers = {
        "HTTP, this service": "http",
        "HTTP, bare FastAPI + onnxruntime": "http_bare",
        "HTTP, bare, this release's graph": "http_bare_same_graph",
    }
    for title, key in servers.items():
        for item in result[key]:
            table.add_row(
                f"{title}, {item['clients']} clients",
                f"{item['per_second']:.1f}",
                f"{item['p50'] * 1000:.1f}",
                f"{item['p95'] * 1000:.1f}",
            )
    console = Console(width=110)
    console.print(table)
    ratios = Table("ratio", "", title="one run, so ratios hold where seconds do not")
    for name, value in result["ratios"].items():
        ratios.add_row(name, f"{value:.2f}")
    ratios.add_row("ready after, s", f"{result['ready_s']:.2f}")
    ratios.add_row("resident, MB", f"{result['resident_mb']:.0f}")
    failed = sum(item["failed"] for item in result["http"])
    ratios.add_row("failed requests", str(failed))
    console.print(ratios)


if __name__ == "__main__":
    main()
