"""Words of training logs in Chinese, Korean, Japanese and Russian, put into English."""

import re

_FOREIGN = re.compile("[\u4e00-\u9fff\u30a0-\u30ff\uac00-\ud7a3\u0410-\u044f]")
_COUNTED = re.compile(r"(?<=\x00)\s?[轮个]")  # behind the number in the shape of a line
_TERMS = (
    ("验证集", " val "), ("测试集", " test "), ("训练集", " train "), ("损失值", " loss "), ("损失函数", " loss "), ("总损失", " total loss "),
    ("保存", " saved "), ("加载", " loading "), ("早停", " early stopping "), ("最佳", " best "), ("最优", " best "), ("最好", " best "),
    ("困惑度", " perplexity "), ("周期", " epoch "),
    ("验证", " val "), ("测试", " test "), ("评估", " eval "), ("训练", " train "),
    ("损失", " loss "), ("准确率", " accuracy "), ("精度", " accuracy "),
    ("正确率", " accuracy "), ("学习率", " lr "), ("步数", " step "), ("迭代次数", " iter "),
    ("迭代", " iter "), ("轮次", " epoch "), ("轮数", " epoch "), ("平均", ""),
    ("학습률", " lr "), ("손실", " loss "), ("정확도", " accuracy "), ("훈련", " train "), ("학습", " train "), ("검증", " val "),
    ("테스트", " test "), ("에포크", " epoch "), ("에폭", " epoch "), ("평균", ""), ("최고", " best "), ("저장", " saved "),
    ("学習率", " lr "), ("損失", " loss "), ("正解率", " accuracy "), ("訓練", " train "), ("学習", " train "), ("検証", " val "),
    ("テスト", " test "), ("エポック", " epoch "),
    ("Эпоха", "epoch"), ("эпоха", "epoch"), ("Потери", "loss"), ("потери", "loss"), ("Точность", "accuracy"), ("точность", "accuracy"),
    ("на обучении", "train"), ("на валидации", "val"),
    ("第", " epoch "), ("批次", " batch "), ("梯度范数", " grad_norm "), ("当前", ""),
)  # fmt: skip


def to_english(text: str) -> str:
    """The text with the words that are known put into English, blanks around them; the rest stays as it is."""
    if text.isascii() or not _FOREIGN.search(text):
        return text
    for term, english in _TERMS:
        text = text.replace(term, english)
    return _COUNTED.sub("", text)
