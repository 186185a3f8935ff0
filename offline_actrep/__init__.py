"""Offline reinforcement learning when the actions are thousands of discrete things.

log -> representation -> relabel -> train -> evaluate -> report; see the README.
"""

from offline_actrep.behaviour import collect as collect
from offline_actrep.behaviour import make_behaviour as make_behaviour
from offline_actrep.convert import convert as convert
from offline_actrep.core.actions import ActionSet as ActionSet
from offline_actrep.core.actions import AllowedActions as AllowedActions
from offline_actrep.core.estimate import Estimate as Estimate
from offline_actrep.core.log import Log as Log
from offline_actrep.core.policy import AbstractBehaviour as AbstractBehaviour
from offline_actrep.core.policy import AbstractPolicy as AbstractPolicy
from offline_actrep.core.policy import DecodedPolicy as DecodedPolicy
from offline_actrep.core.representation import AbstractRepresentation as AbstractRepresentation
from offline_actrep.core.simulator import AbstractSimulator as AbstractSimulator
from offline_actrep.evaluate import estimate as estimate
from offline_actrep.evaluate import evaluate as evaluate
from offline_actrep.files.exchange.catalog import import_log as import_log
from offline_actrep.files.parquet import ColumnMapping as ColumnMapping
from offline_actrep.files.parquet import read_log as read_log
from offline_actrep.files.parquet import write_log as write_log
from offline_actrep.files.store import open_store as open_store
from offline_actrep.files.store import write_store as write_store
from offline_actrep.nets.features import FeatureConfig as FeatureConfig
from offline_actrep.offline.bridge import replay_buffer as replay_buffer
from offline_actrep.offline.train import train as train
from offline_actrep.online.action_values import action_values as action_values
from offline_actrep.online.train import train_online as train_online
from offline_actrep.ope.propensities import estimate_propensities as estimate_propensities
from offline_actrep.plots import ValuedState as ValuedState
from offline_actrep.plots import value_map as value_map
from offline_actrep.recipe import read_recipe as read_recipe
from offline_actrep.relabel import Relabelled as Relabelled
from offline_actrep.relabel import relabel as relabel
from offline_actrep.relabel_stream import open_points as open_points
from offline_actrep.relabel_stream import relabel_files as relabel_files
from offline_actrep.representations.catalog import fit as fit
from offline_actrep.representations.probe import probe as probe
from offline_actrep.run import run as run
from offline_actrep.saved import load_policy as load_policy
from offline_actrep.saved import load_representation as load_representation
from offline_actrep.saved import save_policy as save_policy
from offline_actrep.saved import save_representation as save_representation
from offline_actrep.simulators.catalog import make as make
from offline_actrep.simulators.wrappers import ChangingConfig as ChangingConfig
