"""Amounts of money as people write them → yuan."""

from __future__ import annotations

import re
from decimal import Decimal

_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
}
_SMALL = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10**4, "亿": 10**8}
_LETTERS = {"w": 10**4, "W": 10**4, "k": 1000, "K": 1000}
_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")
_NUMERALS = re.compile("[零〇一二两三四五六七八九十百千万亿]+")


def yuan(text: str) -> str | None:
    """The amount in ``text`` (12万, ￥1,200.5, 两千三, 1.2w) as plain decimal digits in yuan.

    Words such as 多 and 余 are passed over: 三千多块 is ``"3000"``.

    Returns:
        None where no number stands in the text, or its numerals make none.
    """
    number = _NUMBER.search(text)
    if number:
        value = Decimal(number.group().replace(",", ""))
        for item in text[number.end() :]:
            value *= _SMALL.get(item) or _LARGE.get(item) or _LETTERS.get(item) or 1
        return f"{value.normalize():f}"
    numerals = _NUMERALS.search(text)
    amount = number_of(numerals.group()) if numerals else None
    return None if amount is None else str(amount)


def number_of(numerals: str) -> int | None:
    """The whole number that Chinese numerals spell: 十二万 → 120000, and as spoken 两千三 → 2300, 三万五 → 35000.

    Of two digits in a row before a unit (三四千) the lower bound counts.

    Returns:
        None where the numerals make no number: no unit among several digits, or units out of order.
    """
    total = section = 0
    digit: int | None = None
    last_unit = 1
    spelled = False
    for item in numerals:
        if item in _DIGITS:
            # 零 only keeps a place open; a second digit in a row is the upper bound of a guess.
            if item in "零〇":
                digit, last_unit = None, 1
            elif digit is None:
                digit = _DIGITS[item]
        elif item in _SMALL:
            section += (1 if digit is None else digit) * _SMALL[item]
            digit, last_unit, spelled = None, _SMALL[item], True
        else:
            section += digit or 0
            # 亿 counts all before it, 万 only what stands between the two.
            total = (total + section) * _LARGE[item] if item == "亿" else total + section * _LARGE[item]
            section, digit, last_unit, spelled = 0, None, _LARGE[item], True
    if digit is not None:
        # 两千三: the digit counts the next lower unit. 二十三: it counts ones.
        section += digit * (last_unit // 10 if last_unit > 10 else 1)
    if not spelled and len(numerals) > 1:
        return None
    return total + section or None
