"""Chinese words of training logs, put into English."""

import re

_CJK = re.compile("[\u4e00-\u9fff]")
_COUNTED = re.compile(r"(?<=\x00)\s?[轮个]")  # behind the number in the shape of a line
_TERMS = (
    ("验证集", " val "), ("测试集", " test "), ("训练集", " train "), ("损失值", " loss "), ("损失函数", " loss "), ("总损失", " total loss "),
    ("保存", " saved "), ("加载", " loading "), ("早停", " early stopping "), ("最佳", " best "), ("最优", " best "), ("最好", " best "),
    ("困惑度", " perplexity "), ("周期", " epoch "),
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
