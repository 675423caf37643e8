# Public names; see __init__.py.
from centernet2.builders.detector.loading import build_model as build_model
from centernet2.builders.detector.loading import load_model as load_model
from centernet2.builders.detector.predictor_loading import load_predictor as load_predictor
from centernet2.checkpoint import export_reference_checkpoint as export_reference_checkpoint
from centernet2.config import Config as Config
from centernet2.config import ConfigError as ConfigError
from centernet2.config import load_config as load_config
from centernet2.jobs.evaluate import evaluate as evaluate
from centernet2.jobs.train import train as train
from centernet2.models.centernet import CenterNet as CenterNet
from centernet2.models.centernet import CenterNetHead as CenterNetHead
from centernet2.models.detector import Detector as Detector
from centernet2.models.optimize import optimize_for_inference as optimize_for_inference
from centernet2.models.optimize import optimize_for_training as optimize_for_training
from centernet2.predict.prediction import Prediction as Prediction
from centernet2.predict.predictor import Predictor as Predictor
from centernet2.predict.tiling import Tiling as Tiling

__version__: str
