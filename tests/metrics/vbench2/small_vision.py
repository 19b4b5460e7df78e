"""CoTracker2, RAFT, RetinaFace, ArcFace and VGG19 of the real classes and sizes, seeded, in the published files.

Where a random network would see nothing that the official code can act on, a few of its weights are set by hand.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from easydict import EasyDict
from torch import Tensor, nn

CHECKPOINTS = "torch/hub/checkpoints"
TURN = 0.1  # by how much the tracker's points move in one of its six iterations, at the upper edge: 0.4 pixels of 512
WAVE = 342 + 42  # of 456 inputs: the cosine of a point's height that goes from 1 at the upper edge to -1 at the lower
FLOW = 0.1  # of RAFT in one of twenty iterations, in eighths of the picture's pixels
HUGE = 20.0  # logarithm, in fifths, of a face's size over its anchor's, so that all are one


def write_vision(folder: Path) -> None:
    for file, write in FILES.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        with torch.no_grad():
            write(folder / file)


def write_cotracker(file: Path) -> None:
    """Its points wander sideways, by their height: in opposite ways, which the official code takes for an orbit."""
    from cotracker.models.core.cotracker.cotracker import CoTracker2

    network = CoTracker2(stride=4, window_len=8)
    for values in (network.fnet.conv2.weight, network.fnet.conv2.bias, *network.track_feat_updater.parameters()):
        values.mul_(1e-3)
    former = network.updateformer
    for name, values in former.named_parameters():
        if name.endswith(("to_out.weight", "fc2.weight")):
            values.zero_()
    former.input_transform.weight[0].zero_()
    former.input_transform.weight[0, WAVE], former.input_transform.bias[0] = 1.0, -1.0  # less what time adds
    former.flow_head.weight[:2].zero_()
    former.flow_head.weight[0, 0] = TURN
    torch.save(network.state_dict(), file)


def write_raft(file: Path) -> None:
    """Everything moves to the right by 16 pixels."""
    from vbench2.third_party.RAFT.core.raft import RAFT

    network = RAFT(EasyDict(small=False, mixed_precision=False, alternate_corr=False))
    last = network.update_block.flow_head.conv2
    last.weight.mul_(1e-3)
    last.bias.copy_(torch.tensor([FLOW, 0.0]))
    torch.save(parallel(network.state_dict()), file)


def write_retinaface(file: Path) -> None:
    """One face, as large as the picture, in every picture."""
    from retinaface.predict_single import Model

    network = Model(max_size=2048, device="cpu").model
    for level in range(3):
        network.BboxHead[level].conv1x1.weight.zero_()
        network.BboxHead[level].conv1x1.bias.copy_(torch.tensor([0.0, 0.0, HUGE, HUGE] * 2))
        network.ClassHead[level].conv1x1.bias.copy_(torch.tensor([0.0, -50.0, 0.0, 10.0 if level == 2 else -50.0]))
    inside = file.with_name(f"{file.stem.rpartition('-')[0]}.pth")
    torch.save(network.state_dict(), inside, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(inside, inside.name)
    inside.unlink()


def write_arcface(file: Path) -> None:
    """Features are counted from those of noise, so that pictures differ."""
    from vbench2.third_party.arcface.models import resnet_face18

    network = resnet_face18(use_se=False).eval()
    found: list[Tensor] = []
    network.fc5.register_forward_hook(lambda module, given, made: found.append(made))
    for grain in (4, 8, 16, 32):
        noise = torch.rand(4, 1, 128 // grain, 128 // grain) * 2 - 1
        network(nn.functional.interpolate(noise, size=(128, 128)))
    network.bn5.running_mean.copy_(torch.cat(found).mean(0))
    network.bn5.running_var.copy_(torch.cat(found).var(0))
    torch.save(parallel(network.state_dict()), file, _use_new_zipfile_serialization=False)


def write_vgg(file: Path) -> None:
    """Its classifier, which is not used, is a single zero repeated."""
    from torchvision.models import vgg19

    with torch.device("meta"):
        state = vgg19().state_dict()
    filled = {name: torch.zeros(1).expand(values.shape) for name, values in state.items()}
    for name, values in state.items():
        if name.startswith("features"):
            filled[name] = torch.zeros(values.shape)
            if name.endswith("weight"):
                nn.init.kaiming_normal_(filled[name])
    torch.save(filled, file)


def parallel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As saved from DataParallel."""
    return {f"module.{name}": values for name, values in state.items()}


FILES = {
    f"{CHECKPOINTS}/cotracker2.pth": write_cotracker,
    "raft_model/models/raft-things.pth": write_raft,
    f"{CHECKPOINTS}/retinaface_resnet50_2020-07-20-f168fae3c.zip": write_retinaface,
    "arcface/resnet18_110.pth": write_arcface,
    f"{CHECKPOINTS}/vgg19-dcbb9e9d.pth": write_vgg,
}
