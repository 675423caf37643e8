"""The published models: facts, and their weights."""

from centernet2.zoo.download import DETECTRON2 as DETECTRON2
from centernet2.zoo.download import DownloadError as DownloadError
from centernet2.zoo.download import cached_file as cached_file
from centernet2.zoo.download import is_address as is_address
from centernet2.zoo.published import ZOO_PREFIX as ZOO_PREFIX
from centernet2.zoo.published import ModelCost as ModelCost
from centernet2.zoo.published import ZooModel as ZooModel
from centernet2.zoo.published import zoo_model as zoo_model
from centernet2.zoo.published import zoo_models as zoo_models
