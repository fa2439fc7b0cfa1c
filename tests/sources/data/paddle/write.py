"""Writes tests/sources/data/paddle with PaddlePaddle itself: `pip install paddlepaddle==3.*`, then `python write.py`."""

from pathlib import Path

import paddle

HERE = Path(__file__).parent
paddle.seed(0)
model = paddle.nn.Sequential(paddle.nn.Linear(4, 3), paddle.nn.BatchNorm1D(3), paddle.nn.ReLU(), paddle.nn.Linear(3, 2))
x, y = paddle.randn([16, 4]), paddle.randint(0, 2, [16])
schedule = paddle.optimizer.lr.StepDecay(0.01, step_size=4, gamma=0.5)
optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters())
for _ in range(7):
    paddle.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    optimizer.clear_grad()
    schedule.step()
paddle.save(model.state_dict(), str(HERE / "epoch_3.pdparams"))
paddle.save(optimizer.state_dict(), str(HERE / "epoch_3.pdopt"))
momentum = paddle.optimizer.Momentum(0.1, parameters=model.parameters())
paddle.nn.functional.cross_entropy(model(x), y).backward()
momentum.step()
paddle.save(momentum.state_dict(), str(HERE / "momentum.pdopt"))
