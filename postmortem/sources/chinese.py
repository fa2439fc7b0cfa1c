"""Chinese words of training logs, put into English."""

import re

_CJK = re.compile("[\u4e00-\u9fff]")
_COUNTED = re.compile(r"(?<=\x00)\s?[轮个]")  # behind the number in the shape of a line
_TERMS = (
    ("验证", " val "), ("测试", " test "), ("评估", " eval "), ("训练", " train "),
    ("损失", " loss "), ("准确率", " accuracy "), ("精度", " accuracy "),
    ("正确率", " accuracy "), ("学习率", " lr "), ("步数", " step "), ("迭代次数", " iter "),
    ("迭代", " iter "), ("轮次", " epoch "), ("轮数", " epoch "), ("平均", ""),
    ("第", " epoch "), ("批次", " batch "), ("梯度范数", " grad_norm "), ("当前", ""),
)  # fmt: skip


def to_english(text: str) -> str:
    """The text with the words that are known put into English, blanks around them; what is in no Chinese stays as it is."""
    if text.isascii() or not _CJK.search(text):
        return text
    for term, english in _TERMS:
        text = text.replace(term, english)
    return _COUNTED.sub("", text)
