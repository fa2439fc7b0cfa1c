"""Words of training logs in other languages, put into English: Chinese, Korean, Japanese and Russian, and six that are written in Latin letters."""

import re

_FOREIGN = re.compile("[\u4e00-\u9fff\u30a0-\u30ff\uac00-\ud7a3\u0410-\u044f]")
_COUNTED = re.compile(r"(?<=\x00)\s?[轮个]")  # behind the number in the shape of a line
_TERMS = (
    ("训练轮数", " epochs "), ("总轮数", " epochs "),
    ("验证集", " val "), ("测试集", " test "), ("训练集", " train "), ("损失值", " loss "), ("损失函数", " loss "), ("总损失", " total loss "),
    ("保存", " saved "), ("加载", " loading "), ("早停", " early stopping "), ("最佳", " best "), ("最优", " best "), ("最好", " best "),
    ("困惑度", " perplexity "), ("周期", " epoch "),
    ("验证", " val "), ("测试", " test "), ("评估", " eval "), ("训练", " train "),
    ("损失", " loss "), ("准确率", " accuracy "), ("精度", " accuracy "),
    ("正确率", " accuracy "), ("学习率", " lr "), ("步数", " step "), ("迭代次数", " iter "),
    ("迭代", " iter "), ("轮次", " epoch "), ("轮数", " epoch "), ("平均", ""),
    ("학습률", " lr "), ("손실", " loss "), ("정확도", " accuracy "), ("훈련", " train "), ("학습", " train "), ("검증", " val "),
    ("테스트", " test "), ("에포크", " epoch "), ("에폭", " epoch "), ("평균", ""), ("최고", " best "), ("저장", " saved "),
    ("学習率", " lr "), ("損失関数", " loss "), ("損失", " loss "), ("正解率", " accuracy "), ("訓練", " train "), ("学習", " train "),
    ("検証", " val "), ("評価", " eval "), ("テスト", " test "), ("エポック", " epoch "), ("誤差", " error "), ("ステップ", " step "),
    ("イテレーション", " iter "), ("保存", " saved "), ("最良", " best "), ("ベスト", " best "), ("データ", ""),
    ("Скорость обучения", "lr"), ("скорость обучения", "lr"), ("Функция потерь", "loss"), ("функция потерь", "loss"),
    ("Значение функции потерь", "loss"), ("Эпоха", "epoch"), ("эпоха", "epoch"), ("Потери", "loss"), ("потери", "loss"), ("Потеря", "loss"),
    ("потеря", "loss"), ("Точность", "accuracy"), ("точность", "accuracy"), ("Ошибка", "error"), ("ошибка", "error"), ("Лучш", "best "),
    ("лучш", "best "), ("Шаг", "step"), ("шаг", "step"), ("Итерация", "iter"), ("итерация", "iter"), ("Средняя ", ""), ("средняя ", ""),
    ("на обучающей выборке", "train"), ("на тренировочной выборке", "train"), ("на валидационной выборке", "val"), ("на тестовой выборке", "test"),
    ("на обучении", "train"), ("на валидации", "val"), ("на тесте", "test"), ("обучения", "train"), ("валидации", "val"), ("Обучение", "train"),
    ("Валидация", "val"), ("тестирования", "test"), ("Сохранен", "saved "), ("сохранен", "saved "),
    ("第", " epoch "), ("批大小", " batch_size "), ("批量大小", " batch_size "), ("批次大小", " batch_size "),
    ("批次", " batch "), ("梯度范数", " grad_norm "), ("当前", ""),
)  # fmt: skip
_WIDE = re.compile(" {2,}")  # beside what had none around it in its own language

# Spanish, Portuguese, French, Italian and German, with their accents or without. What is in the first table is in no English text.
_LATIN: dict[str, str] = {
    "epoch": r"[eé]po(?:ca|que|che)s?|epochen",
    "loss": r"p[eé]rdidas?|perdas?|pertes?|perdit[ae]|(?P<of>trainings|validierungs|test)?verluste?",
    "accuracy": r"exactitude?|acur[aá]cia|accuratezza|(?P<of2>trainings|validierungs|test)?genauigkeit",
    "train": r"entrenamiento|treinamento|treino|entra[iî]nement|apprentissage|addestramento|allenamento",
    "val": r"validaci[oó]n|valida[cç][aã]o|validazione|validierung",
    "lr": r"tasa de aprendizaje|taxa de aprendizado|taxa de aprendizagem|taux d['’ ]?apprentissage|tasso di apprendimento|lernrate",
}
_BESIDE: dict[str, str] = {  # beside one of those
    "test": r"prueba|teste",
    "step": r"pas[so]o|[eé]tape|schritt",
    "iter": r"iteraci[oó]n|itera[cç][aã]o|itération|iterazione",
    "error": r"fehler",
    "precision": r"precisi[oó]n|précision|precis[aã]o|precisione",
    "avg": r"promedio|m[eé]di[ao]|moyenne|durchschnittliche[rs]?|mittlere[rs]?",
    "best": r"mejor|melhor|meilleure?|migliore?|beste[rs]?",
    "saved": r"guardad[oa]|guardando|salv[oa]|salvando|sauvegard[ée]e?|gespeichert",
}
# In lower case, one of these is in each of the words of the first table.
_HINTS = (
    "poca", "poqu", "poche", "rdida", "perda", "perte", "perdit", "verlust", "exactitu", "curaci", "curáci", "accurat", "genauig", "entren", "trein",
    "ntrain", "ntraîn", "pprent", "addest", "allenam", "validaci", "validaç", "validaz", "validac",
    "validier", "tasa de", "taxa de", "tasso di", "lernr",
)  # fmt: skip
_GLUED = {"trainings": "train ", "validierungs": "val ", "test": "test "}  # what German puts before a word without a blank


def _any(words: dict[str, str]) -> "re.Pattern[str]":
    ways = "|".join(f"(?P<{said}>{foreign})" for said, foreign in sorted(words.items(), key=lambda item: item[0] != "lr"))
    return re.compile(rf"(?<![^\W_])(?:{ways})(?![^\W_])", re.IGNORECASE)


_IN_LATIN, _ALL_LATIN = _any(_LATIN), _any(_LATIN | _BESIDE)
_LINKED = re.compile(r"(?<=[a-z]) (?:(?:de(?: la|l)?|d[aiou]s?|em|en|sur|su|im|der|des|beim) |de l['’]|d['’])(?=train|val|test)", re.IGNORECASE)


def to_english(text: str) -> str:
    """The text with the words that are known put into English, blanks around them; the rest stays as it is."""
    if not text.isascii() and _FOREIGN.search(text):
        narrow = "  " not in text
        for term, said in _TERMS:
            text = text.replace(term, said)
        text = _COUNTED.sub("", text)
        return _WIDE.sub(" ", text) if narrow else text
    low = text.lower()
    if not any(hint in low for hint in _HINTS) or not _IN_LATIN.search(text):
        return text
    exact = "exact" in low or "acur" in low or "accurat" in low or "genauig" in low  # beside it a precision is another thing

    def english(word: re.Match[str]) -> str:
        said = next(name for name, found in word.groupdict().items() if found and not name.startswith("of"))
        said = "accuracy" if said == "precision" and not exact else said
        return _GLUED.get((word["of"] or word["of2"] or "").lower(), "") + said

    return _LINKED.sub(" ", _ALL_LATIN.sub(english, text))
