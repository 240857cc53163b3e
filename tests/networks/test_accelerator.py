"""On a GPU, where there is one: nothing waits, and a forward can be a CUDA graph."""

import pytest
import torch

import hgm
from hgm.testing import assert_close

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA")

TREES = {
    "complete": hgm.random_ghm(6, 4, 2, seed=0),
    "irregular": hgm.random_tree(60, cardinality=(2, 6), seed=1),
    "zeros": hgm.random_tree(20, joint=0.3, zeros=0.4, seed=3),
    "log": hgm.random_tree(20, bound=1e40, seed=5),
}
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
unlooked = pytest.mark.parametrize("check", ["later", False])


def made(tree, **options):
    net = hgm.compile(tree, **options).cuda()
    generator = torch.Generator().manual_seed(0)
    return net, torch.randn(32, net.leaf_states, *net.leaf_shape, generator=generator).cuda()


@trees
@unlooked
@pytest.mark.parametrize("trainable", [False, True])
def test_a_forward_never_waits_for_the_gpu(tree, check, trainable):
    net, z = made(tree, trainable=trainable)
    net(z)
    torch.cuda.set_sync_debug_mode("error")
    try:
        net(z, check=check, outputs=("posterior", "log_partition"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    net.throw()


@trees
@unlooked
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_forward_is_a_cuda_graph(tree, check, dtype):
    net, z = made(tree)
    given, other = z.to(dtype), z.flip(0).to(dtype)
    side = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(3):
            net(given, check=check)
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        answer = net(given, check=check)
    for x in (z, other):
        given.copy_(x)
        graph.replay()
        assert_close(answer, net(given, check=False), 0, "replayed")
    net.throw()


def test_a_replayed_graph_says_what_was_impossible():
    net = hgm.compile(hgm.Tree.from_edges([("a", "b", hgm.Edge([[1.0, 0.0], [0.0, 1.0]]))]), observed="all").cuda()
    z = torch.zeros(2, 2, dtype=torch.int64, device="cuda")
    for _ in range(2):
        net(z, check="later")
    net.throw()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        net(z, check="later")
    z[1, 0] = 1
    graph.replay()
    with pytest.raises(hgm.ImpossibleEvidence) as error:
        net.throw()
    assert error.value.rows == (1,)
