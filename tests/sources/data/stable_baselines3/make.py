"""Makes the files beside it with stable-baselines3 2.9 and gymnasium: `python make.py`."""

from pathlib import Path

import gymnasium as gym
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor

HERE = Path(__file__).parent


def main() -> None:
    """PPO with everything that its callbacks write, SAC for its three optimizers."""
    run = HERE / "ppo"
    model = PPO(
        "MlpPolicy",
        Monitor(gym.make("CartPole-v1"), str(run / "monitor.csv")),
        n_steps=256,
        batch_size=64,
        seed=0,
        policy_kwargs={"net_arch": [8]},
        device="cpu",
    )
    model.set_logger(configure(str(run), ["csv"]))
    saving = CheckpointCallback(1024, str(run), name_prefix="ppo")
    evaluating = EvalCallback(Monitor(gym.make("CartPole-v1")), log_path=str(run), eval_freq=512, verbose=0)
    model.learn(2048, callback=[saving, evaluating])
    sac = SAC("MlpPolicy", gym.make("Pendulum-v1"), learning_starts=50, batch_size=16, seed=0, policy_kwargs={"net_arch": [4]}, device="cpu")
    sac.learn(120)
    sac.save(HERE / "sac.zip")


if __name__ == "__main__":
    main()
