"""API keys: create, list, revoke, digest. Plain functions over a session; the caller's transaction keeps them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from triage.cases.models import ApiKey
from triage.errors import SettingsError

KEY_START = "triage_"
KEY_BYTES = 32
# Shown in lists; six random characters tell keys apart and give nothing away of the other 37.
PREFIX_LENGTH = len(KEY_START) + 6
MAX_NAME = 64


def digest(key: str) -> str:
    """sha256 of a key, in hex: what the database holds."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create(session: Session, name: str) -> tuple[ApiKey, str]:
    """Make a key.

    Args:
        name: whose it is; 1–64 printable characters, not used before, not even by a revoked key.

    Returns:
        The row, and the key itself, which nobody can read again.

    Raises:
        SettingsError: the name is empty, too long, not printable or taken.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise SettingsError(
            f"密钥名称须为 1–{MAX_NAME} 个可见字符，现为 {len(name)} 个，请换一个名称",
            f"a key name has 1–{MAX_NAME} printable characters, got {len(name)}; choose another",
        )
    if session.scalar(select(ApiKey.id).where(ApiKey.name == name)) is not None:
        raise SettingsError(
            f"密钥名称 {name!r} 已被使用（含已吊销的），请换一个名称",
            f"the key name {name!r} is taken (revoked keys count); choose another",
        )
    key = KEY_START + secrets.token_urlsafe(KEY_BYTES)
    row = ApiKey(name=name, prefix=key[:PREFIX_LENGTH], digest=digest(key), created=datetime.now(UTC), revoked=None)
    session.add(row)
    session.flush()
    return row, key


def revoke(session: Session, name: str) -> ApiKey:
    """Refuse a key from now on; revoking twice changes nothing.

    Args:
        name: the key's name or its prefix as the list shows it.

    Raises:
        SettingsError: there is no such key.
    """
    row = session.scalar(select(ApiKey).where((ApiKey.name == name) | (ApiKey.prefix == name)))
    if row is None:
        raise SettingsError(
            f"没有名为 {name!r} 的密钥，运行 triage keys list 查看", f"no key {name!r}; see `triage keys list`"
        )
    row.revoked = row.revoked or datetime.now(UTC)
    return row


def listed(session: Session) -> Sequence[ApiKey]:
    """All keys, revoked ones too, oldest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def count(session: Session) -> int:
    """How many keys were ever made."""
    return session.scalar(select(func.count()).select_from(ApiKey)) or 0
