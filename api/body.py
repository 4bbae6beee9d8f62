"""From the bytes of a body to a checked value. No message repeats what the client wrote."""

from __future__ import annotations

import asyncio
import json
from typing import Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from api.errors import BodyTimeout, ClientGone, InvalidRequest, MalformedBody, UnsupportedMediaType
from api.invalid import complaint, complaints
from triage.errors import TextTooLong

JSON: Final = "application/json"
_BOM = b"\xef\xbb\xbf"

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, seconds: float) -> bytes:
    """The whole body of a JSON request.

    Raises:
        UnsupportedMediaType: it is declared as something else, or not at all.
        BodyTooLarge: from the middleware that counts.
        BodyTimeout: it did not arrive within ``seconds``.
        ClientGone: the client left.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != JSON:
        raise UnsupportedMediaType(
            f"请求体须为 JSON，请设置 Content-Type: {JSON}", f"the body must be JSON; set Content-Type: {JSON}"
        )
    try:
        async with asyncio.timeout(seconds):
            return (await request.body()).removeprefix(_BOM)
    except TimeoutError:
        raise BodyTimeout(
            f"请求体在 {seconds:g} 秒内没有收完，请检查网络", f"the body did not arrive within {seconds:g} s"
        ) from None
    except ClientDisconnect:
        raise ClientGone("客户端已断开", "the client is gone") from None


def parse(body: bytes, model: type[Body]) -> Body:
    """A checked value from JSON.

    Raises:
        MalformedBody: not JSON, not UTF-8, or nested too deeply.
        InvalidRequest: JSON of another shape, or with lone surrogates.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)
    if first[0]["type"] != "json_invalid":
        raise InvalidRequest(complaints(first))
    # The fast parser calls lone surrogates broken JSON. They are JSON; it is the text that is not Unicode.
    try:
        if path := _surrogate(json.loads(body.decode("utf-8"))):
            raise InvalidRequest([complaint("string_unicode", path, {})])
    except (ValueError, RecursionError):
        pass
    # Says what and where, such as "EOF while parsing a value at line 1 column 0", never what stands there.
    reason = first[0]["ctx"]["error"]
    raise MalformedBody(f"请求体不是合法的 UTF-8 JSON：{reason}", f"the body is not UTF-8 JSON: {reason}")


def check_lengths(texts: list[str], limit: int) -> None:
    """Every text must be within the limit.

    Raises:
        TextTooLong: one is not.
    """
    for index, text in enumerate(texts):
        check_length(text, limit, f"inputs[{index}]")


def check_length(text: str, limit: int, field: str) -> None:
    """A text must be within the limit; the message names its field.

    Raises:
        TextTooLong: it is not.
    """
    if len(text) > limit:
        raise TextTooLong(
            f"{field} 有 {len(text)} 个字符，上限 {limit}，请拆分后发送",
            f"{field} has {len(text)} characters, the limit is {limit}; split it",
        )


def _surrogate(data: object) -> tuple[int | str, ...]:
    """Path of the first string with a lone surrogate; empty when there is none. Keys are not named."""
    if isinstance(data, dict):
        if any(map(_broken, data)):
            return ("body",)
        children: list[tuple[int | str, object]] = [
            (key if key == "inputs" else "body", value) for key, value in data.items()
        ]
    elif isinstance(data, list):
        children = list(enumerate(data))
    else:
        return ()
    for key, value in children:
        if isinstance(value, str) and _broken(value):
            return (key,)
        if isinstance(value, list | dict) and (path := _surrogate(value)):
            return (key, *path)
    return ()


def _broken(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)
