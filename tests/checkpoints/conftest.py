import pytest
import torch


@pytest.fixture
def frozen(build):
    """The state of a model that is frozen at 6 of its 24 heads."""
    model = build(6)
    model.head_gates.adopt(torch.randn(24))
    return model.state_dict()
