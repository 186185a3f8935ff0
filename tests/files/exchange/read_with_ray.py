"""Reads a log as RLlib does, in whatever Python has RLlib; run by `test_rllib.py`.

Usage: `python read_with_ray.py FILE OUT OBSERVATION_SIZE N_ACTIONS POINT_SIZE`, the last of them 0
for ids. OUT gets as JSON the episodes that RLlib makes of the rows, one a row, and what a training
step of behaviour cloning on them counts.
"""

import json
import sys

import gymnasium as gym
import numpy as np
import ray
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.offline.offline_prelearner import OfflinePreLearner


def as_json(episode) -> dict:
    """What a test compares."""
    return {
        "id": episode.id_,
        "obs": np.asarray(episode.get_observations()).tolist(),
        "action": np.asarray(episode.get_actions())[0].tolist(),
        "reward": float(episode.get_rewards()[0]),
        "terminated": bool(episode.is_terminated),
        "truncated": bool(episode.is_truncated),
        "infos": {k: np.asarray(v).tolist() for k, v in episode.get_infos()[-1].items()},
        "extra": {k: float(v[0]) for k, v in episode.extra_model_outputs.items()},
    }


def main(file: str, out: str, size: int, n_actions: int, dim: int) -> None:
    actions = gym.spaces.Box(-1.0, 1.0, (dim,)) if dim else gym.spaces.Discrete(n_actions)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    config = (
        BCConfig()
        .environment(
            observation_space=gym.spaces.Box(-np.inf, np.inf, (size,)), action_space=actions
        )
        .offline_data(
            input_=[file],
            input_read_method="read_parquet",
            dataset_num_iters_per_learner=1,
            map_batches_kwargs={"concurrency": 1},
        )
        .training(train_batch_size_per_learner=4)
        .learners(num_learners=0)
        .env_runners(num_env_runners=0)
    )
    algo = config.build_algo()
    learner = OfflinePreLearner(
        config=algo.config,
        spaces=algo.offline_data.spaces["__env__"],
        module_spec=algo.offline_data.module_spec,
    )
    episodes = [
        as_json(episode)
        for batch in ray.data.read_parquet(file).iter_batches(batch_size=3)
        for episode in learner._map_to_episodes(batch, to_numpy=True)["episodes"]
    ]
    found = algo.train()["learners"]["default_policy"]
    trained = {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
    with open(out, "w") as stream:
        json.dump({"episodes": episodes, "trained": trained, "version": ray.__version__}, stream)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
