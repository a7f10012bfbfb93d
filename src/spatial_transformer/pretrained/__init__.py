"""Trained networks as folders of weights, configuration and model card.

They are local, shipped with the package, or on the Hugging Face hub.
"""

from spatial_transformer.pretrained.folder import Pretrained as Pretrained
from spatial_transformer.pretrained.folder import from_pretrained as from_pretrained
from spatial_transformer.pretrained.folder import list_pretrained as list_pretrained
from spatial_transformer.pretrained.folder import load_pretrained as load_pretrained
from spatial_transformer.pretrained.folder import save_pretrained as save_pretrained
