"""Changes that real messages come with, made to training texts: lost punctuation and digits, cut tails, masked places,
the formulas and run-on sentences of letters to an office, SMS stripped by a gateway, words hidden or misspelt.

Every function takes a text and a random generator and returns a text that still means the same to a reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from training.disguise import FAMILIES, Disguiser
from training.recipe import AugmentRecipe

_PUNCTUATION = re.compile(r"[，。！？；：、,.!?;:~…“”\"'《》()（）\s]+")
_SIGNS = re.compile(r"\W+")
_LINK = re.compile(r"(?:https?://|www\.)[\x21-\x7e]+")
_DIGITS = re.compile(r"\d+")
_STOP = re.compile(r"[。；](?=.)")
_OPENINGS = (
    "尊敬的领导：您好！", "领导您好，", "领导，你好！", "您好！", "你好，", "尊敬的市长：", "市长您好：",
    "书记您好！", "尊敬的各位领导：", "各级领导：", "各位领导好，", "相关部门：", "有关部门领导您好：",
    "反映一个问题：", "我要反映：", "本人反映如下情况：", "投诉！", "我想咨询并反映一下，",
    "多次反映无果，再次反映：", "百姓呼声：", "网友来信：", "情况反映。", "来信照登：", "第三次留言了，",
    "一直没有人管，",
)  # fmt: skip
_CLOSINGS = (
    "望领导重视，谢谢！", "恳请领导过问。", "请相关部门尽快处理！", "希望有关部门给予答复。",
    "望予以解决，万分感谢！", "盼回复。", "希望引起重视！", "请领导为民做主！", "此致敬礼", "请给老百姓一个说法！",
    "希望能够得到解决，谢谢领导。", "多次反映至今没有解决。", "严重影响了我们的正常生活！",
    "请问到底归哪个部门管？", "恳请政府督促落实。", "期待您的答复，祝工作顺利！", "望尽快落实为盼。",
    "请求领导百忙之中关注此事。", "希望不要再互相推诿了！", "谢谢。", "有关部门到底管不管？", "请予以核实并回复。",
)  # fmt: skip
_PLACE = re.compile(r"[\u4e00-\u9fff]{2,4}(?=路|街|大道|小区|花园|苑|广场|村|镇|大厦|新城)")


def drop_punctuation(text: str, random: Random) -> str:
    """As voice-to-text writes: no punctuation, here and there a blank."""
    return _PUNCTUATION.sub(lambda _: " " if random.random() < 0.2 else "", text).strip()


def drop_digits(text: str, random: Random) -> str:
    """As some gateways forward a message: its numbers are gone."""
    return _DIGITS.sub(lambda found: "" if random.random() < 0.8 else found.group(), text)


def cut_tail(text: str, random: Random) -> str:
    """As an export cuts: the end of a long text is gone, at least two thirds stay."""
    if len(text) < 120:
        return text
    return text[: random.randint(len(text) * 2 // 3, len(text))]


def mask_places(text: str, random: Random) -> str:
    """As published letters are: names of places replaced by asterisks."""
    return _PLACE.sub(lambda found: "*" * random.randint(2, 6) if random.random() < 0.6 else found.group(), text)


def lose_characters(text: str, random: Random) -> str:
    """As sloppy senders type: about one character in thirty is gone."""
    return "".join(c for c in text if random.random() > 0.03)


def run_on(text: str, random: Random) -> str:
    """As most letters are punctuated: sentence after sentence joined by commas, an exclamation mark here and there."""

    def join(found: re.Match[str]) -> str:
        chance = random.random()
        return "，" if chance < 0.6 else "！" if chance < 0.75 else found.group()

    return _STOP.sub(join, text)


def formal(text: str, random: Random) -> str:
    """As letters to an office begin and end: with formulas that say nothing of the matter."""
    opening = random.choice(_OPENINGS) if random.random() < 0.7 else ""
    closing = random.choice(_CLOSINGS) if random.random() < 0.7 else ""
    return opening + text + closing


_CHANGES: tuple[tuple[str, Callable[[str, Random], str]], ...] = (
    ("mask_places", mask_places),
    ("cut_tail", cut_tail),
    ("drop_digits", drop_digits),
    ("lose_characters", lose_characters),
    ("drop_punctuation", drop_punctuation),
)


def bare(text: str, random: Random) -> str:
    """As gateways and collections keep an SMS: links whole, no other punctuation, most numbers gone."""
    words = _LINK.split(text)
    links = _LINK.findall(text)
    plain = [_DIGITS.sub(lambda found: "" if random.random() < 0.5 else found.group(), word) for word in words]
    parts = [_SIGNS.sub("", word) for word in plain]
    return "".join(part for pair in zip(parts, [*links, ""], strict=True) for part in pair)


_FAMILIES = sorted(FAMILIES)
# The manners of one register alone.
_BY_REGISTER: dict[str, tuple[tuple[str, Callable[[str, Random], str]], ...]] = {
    "letter": (("run_on", run_on), ("formal", formal)),
    "forwarded": (("bare", bare),),
}


@dataclass(frozen=True)
class Augmenter:
    """Makes the changes of a recipe to training texts.

    Attributes:
        recipe: the chances.
        disguiser: hides words where the recipe asks for it.
    """

    recipe: AugmentRecipe
    disguiser: Disguiser

    def __call__(self, text: str, register: str, random: Random) -> str:
        """Apply each change with its chance; a text that would become blank stays as it was.

        Args:
            text: a message.
            register: what the corpus calls it; some changes are made to letters or to forwarded texts only.
            random: decides.
        """
        changed = text
        for name, change in (*_BY_REGISTER.get(register, ()), *_CHANGES):
            if random.random() < getattr(self.recipe, name):
                changed = change(changed, random)
        # Whatever the label: a homophone is a slip of the input method as often as it is a disguise.
        if random.random() < self.recipe.homophones:
            changed = self.disguiser(changed, "homophones", random)
        if random.random() < self.recipe.disguise:
            changed = self.disguiser(changed, random.choice(_FAMILIES), random)
        return changed if changed.strip() else text
