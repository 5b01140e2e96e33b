"""Compiled programs are read as they run: FLOP, bytes and collectives, loops counted through."""

import jax
import jax.numpy as jnp
import pytest

from seqgan_jax.benchmark import hlo
from seqgan_jax.benchmark.hlo_text import Array

# Recorded on 4 virtual CPU devices, names shortened and source places left out: a scan of 5 over
# psum(c @ w), then a psum of two arrays and one collective of each other kind, by shard_map.
SHARDED = """\
HloModule jit_f, is_scheduled=true, num_partitions=4

FileNames
1 "a.py"

%add.1 (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0), metadata={op_name="while/{body}/psum"}
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%product (p0: f32[4,8], p1: f32[8,8]) -> f32[4,8] {
  %p0 = f32[4,8]{1,0} parameter(0)
  %p1 = f32[8,8]{1,0} parameter(1)
  ROOT %dot.4 = f32[4,8]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body.2_spmd (p: (s32[], f32[4,8], f32[8,8])) -> (s32[], f32[4,8], f32[8,8]) {
  %p = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) parameter(0)
  %one = s32[] constant(1)
  %w = f32[8,8]{1,0} get-tuple-element(%p), index=2
  %c = f32[4,8]{1,0} get-tuple-element(%p), index=1
  %i = s32[] get-tuple-element(%p), index=0
  %ynn_fusion = f32[4,8]{1,0} fusion(%c, %w), kind=kCustom, calls=%product, metadata={op_name="d("}
  %next = s32[] add(%i, %one)
  %psum.19 = f32[4,8]{1,0} all-reduce(%ynn_fusion), replica_groups={{0,1,2,3}}, to_apply=%add.1
  ROOT %tuple.14 = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) tuple(%next, %psum.19, %w)
}

%condition.3_spmd (p: (s32[], f32[4,8], f32[8,8])) -> pred[] {
  %p = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) parameter(0)
  %five = s32[] constant(5)
  %i = s32[] get-tuple-element(%p), index=0
  ROOT %lt = pred[] compare(%i, %five), direction=LT
}

ENTRY %main.9_spmd (x: f32[4,8], w: f32[8,8]) -> (f32[4,8], f32[8], f32[4,4,8]) {
  %x = f32[4,8]{1,0} parameter(0), sharding={devices=[4,1]<=[4]}
  %w = f32[8,8]{1,0} parameter(1), sharding={replicated}
  %zero = s32[] constant(0)
  %none = f32[] constant(0)
  %start = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) tuple(%zero, %x, %w)
  %loop = (s32[], f32[4,8]{1,0}, /*index=2*/f32[8,8]{1,0}) while(%start), \
condition=%condition.3_spmd, body=%body.2_spmd, backend_config={"known_trip_count":{"n":"5"}}
  %c = f32[4,8]{1,0} get-tuple-element(%loop), index=1
  %rows = f32[8]{0} reduce(%c, %none), dimensions={0}, to_apply=%add.1
  %both = (f32[4,8]{1,0}, f32[8]{0}) all-reduce(%c, %rows), replica_groups=[2,2]<=[4], \
to_apply=%add.1
  %flat = f32[1,4,8]{2,1,0} bitcast(%c)
  %all = f32[4,4,8]{2,1,0} all-gather(%flat), replica_groups={{0,1,2,3}}, dimensions={0}
  %part = f32[1,8]{1,0} reduce-scatter(%c), replica_groups={{0,1},{2,3}}, to_apply=%add.1
  %sent = f32[4,8]{1,0} collective-permute(%c), source_target_pairs={{0,1},{1,0}}
  %swap = (f32[1,8]{1,0}, f32[1,8]{1,0}) all-to-all(%part, %part), replica_groups={}
  ROOT %t = (f32[4,8]{1,0}, f32[8]{0}, f32[4,4,8]{2,1,0}) tuple(%sent, %rows, %all)
}
"""

# As other backends write it: what starts and what ends, library calls, layouts with brackets.
ASYNCHRONOUS = """\
HloModule jit_g

scattered (p: f32[8,6]) -> f32[2,6] {
  p = f32[8,6]{1,0} parameter(0)
  ROOT rs = f32[2,6]{1,0} reduce-scatter(p), replica_groups={{0,1,2,3}}, to_apply=add
}, execution_thread="parallel"

ENTRY main {
  x = f32[8,6]{1,0:T(8,128)S(1)} parameter(0)
  b = bf16[3,4,5]{2,1,0} parameter(1)
  c = bf16[3,5,7]{2,1,0} parameter(2)
  w = f32[6,5]{1,0} parameter(3)
  a = f32[8,6]{1,0:T(8,128)} all-reduce-start(f32[8,6]{1,0} x), replica_groups=[1,4]<=[4]
  a.done = f32[8,6]{1,0} all-reduce-done(a)
  g = (f32[8,6]{1,0}, f32[32,6]{1,0}) all-gather-start(a.done), replica_groups=[2,4]<=[2,4]T(1,0)
  g.done = f32[32,6]{1,0} all-gather-done(g)
  m = (f32[8,6]{1,0}, f32[8,6]{1,0}, u32[], u32[]) collective-permute-start(x)
  m.done = f32[8,6]{1,0} collective-permute-done(m)
  s = ((f32[8,6]{1,0}), f32[2,6]{1,0}, u32[]) async-start(x), calls=scattered
  s.done = f32[2,6]{1,0} async-done(s), calls=scattered
  t = ((f32[8,6]{1,0}), f32[8,6]{1,0}, u32[]) all-to-all-start(x), replica_groups={{0,1}}
  t.done = f32[8,6]{1,0} all-to-all-done(t)
  k = (f32[8,6]{1,0}, f32[8,6]{1,0}, u32[]) copy-start(x)
  k.done = f32[8,6]{1,0} copy-done(k)
  y = (f32[8,5]{1,0}, s8[99]{0}) custom-call(x, w), custom_call_target="__cublas$gemm"
  ROOT z = bf16[3,4,7]{2,1,0} custom-call(b, c), custom_call_target="__onednn$matmul"
}
"""


def compiled(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*arguments).compile()


def read(function, *shapes):
    return hlo.read(compiled(function, *shapes).as_text())


def test_one_product_is_what_xla_counts_too():
    program = compiled(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), (3, 4, 5), (3, 6, 5))
    found, cost = hlo.read(program.as_text()), program.cost_analysis()
    assert found.flop == 2 * 3 * 4 * 5 * 6 == cost["flops"]
    assert found.bytes_accessed == 4 * (3 * 4 * 5 + 3 * 6 * 5 + 3 * 4 * 6) == cost["bytes accessed"]
    assert found.largest_bytes == 4 * 3 * 6 * 5
    assert (found.collectives, found.unknown_loops) == ((), 0)


def test_loops_within_loops_multiply():
    def inner(carry, _):
        return jnp.tanh(carry @ carry), None

    def outer(carry, w):
        carry, _ = jax.lax.scan(inner, carry, length=3)
        return carry @ w, None

    found = read(lambda x, w: jax.lax.scan(outer, x, w)[0], (8, 8), (7, 8, 8))
    assert found.flop == 7 * (3 + 1) * 2 * 8**3
    assert found.unknown_loops == 0


def test_a_gradient_is_three_forward_passes():
    def loss(x, w):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), None), x, length=10)[0].sum()

    forward = 10 * 2 * 4 * 16 * 16
    assert read(loss, (4, 16), (16, 16)).flop == forward
    assert read(jax.grad(loss, (0, 1)), (4, 16), (16, 16)).flop == 3 * forward


def test_a_scan_moves_a_slice_in_a_step_and_no_stack():
    length, row = 1000, 4 * 64
    found = read(lambda x: jax.lax.scan(lambda c, y: (c + y, c * y), x[0], x), (length, 64))
    # A handful of rows a step, and a handful of whole stacks before and after.
    assert found.bytes_accessed < 30 * length * row
    assert found.largest_bytes == length * row


def test_a_loop_that_may_stop_early_counts_as_the_longest():
    def search(x):
        return jax.lax.while_loop(
            lambda s: (s[0] < 9) & (s[1].sum() < 1e3), lambda s: (s[0] + 1, s[1] @ s[1]), (0, x)
        )

    found = read(search, (8, 8))
    assert (found.flop, found.unknown_loops) == (9 * 2 * 8**3, 0)


def test_a_loop_of_unknown_length_counts_once_and_is_reported():
    def power(x, steps):
        return jax.lax.fori_loop(0, steps.astype(int), lambda _, y: y @ y, x)

    found = read(power, (8, 8), ())
    assert (found.flop, found.unknown_loops) == (2 * 8**3, 1)


def test_a_conditional_runs_its_costliest_branch():
    def choose(x):
        return jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: y @ y @ y, x)

    assert read(choose, (8, 8)).flop == 2 * 2 * 8**3


@pytest.mark.parametrize(
    ("padding", "stride", "pairs"),
    [
        ("VALID", 1, 4 * 3),
        ("SAME", 1, 4 * 3 + 2 * 2),  # the first and last window lose one place each
        ("SAME", 2, 3 + 3 + 2),
    ],
)
def test_a_convolution_leaves_out_its_padding(padding, stride, pairs):
    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (stride,), padding, dimension_numbers=("NWC", "WIO", "NWC")
        )

    batch, features, filters = 5, 8, 7
    shapes = (batch, 6, features), (3, features, filters)
    assert read(convolve, *shapes).flop == 2 * batch * features * filters * pairs
    transposed = read(jax.grad(lambda x, w: (convolve(x, w) ** 2).sum()), *shapes)
    assert transposed.flop == 2 * 2 * batch * features * filters * pairs


def test_collectives_inside_and_outside_of_a_loop():
    found = hlo.read(SHARDED)
    seen = [(each.kind, each.bytes, each.runs, each.group_size) for each in found.collectives]
    assert seen == [
        ("all-reduce", 4 * 32, 5, 4),
        ("all-reduce", 4 * 32 + 4 * 8, 1, 2),
        ("all-gather", 4 * 4 * 32, 1, 4),
        ("reduce-scatter", 4 * 8, 1, 2),
        ("collective-permute", 4 * 32, 1, None),
        ("all-to-all", 4 * 16, 1, None),
    ]
    assert [each.in_loop for each in found.collectives] == [True] + 5 * [False]
    assert found.collectives[1].shapes == (Array("f32", (4, 8)), Array("f32", (8,)))
    assert found.flop == 5 * 2 * 4 * 8 * 8
    assert (found.largest_bytes, found.unknown_loops) == (4 * 4 * 32, 0)


def test_a_condition_is_asked_once_more_than_its_body_runs():
    body = (128 + 256 + 128) + (4 + 4 + 4) + (128 + 128)  # product, counter, psum
    condition = 4 + 4 + 1
    after = (128 + 4 + 32) + (160 + 160) + (128 + 512) + (128 + 32) + (128 + 128) + (64 + 64)
    assert hlo.read(SHARDED).bytes_accessed == 5 * body + 6 * condition + after


def test_a_dimension_is_found_in_what_a_collective_takes_or_gives():
    scattered = next(c for c in hlo.read(SHARDED).collectives if c.kind == "reduce-scatter")
    assert scattered.holds(4)  # only its operand's
    assert scattered.holds(1)  # only its result's
    assert not scattered.holds(32)


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{{0,1},{2,3,4}}", 3),
        ("[4,2]<=[8]", 2),
        ("mesh['data'=4,'model'=2] {'data'}", 4),
        ("mesh['data'=4,'model'=2] {'data','model'}", 8),
        ("mesh['data'=4,'model'=2] {'data':(2)2,'model'}", 4),  # of data the second factor of 2
        ("mesh['data'=4,'model'=2] {}", 1),
        ("{}", None),
    ],
)
def test_sizes_of_groups_however_they_are_written(groups, size):
    """As jax 0.10 and 0.12 write them."""
    line = f"  ROOT s = f32[2,2] all-reduce(p), replica_groups={groups}, to_apply=add"
    text = f"ENTRY main {{\n  p = f32[2,2] parameter(0)\n{line}\n}}\n"
    assert [each.group_size for each in hlo.read(text).collectives] == [size]


def test_what_starts_counts_once_and_what_ends_does_not():
    found = hlo.read(ASYNCHRONOUS)
    seen = [(each.kind, each.shapes[0].dims, each.group_size) for each in found.collectives]
    assert seen == [
        ("all-reduce", (8, 6), 4),
        ("all-gather", (32, 6), 4),
        ("collective-permute", (8, 6), None),
        ("reduce-scatter", (2, 6), 4),
        ("all-to-all", (8, 6), 2),
    ]
    assert all(len(each.shapes) == 1 and each.runs == 1 for each in found.collectives)
    assert found.largest_bytes == 4 * 32 * 6
    moved = 4 * (192 + 192) + (192 + 768) + (192 + 48)  # gathering and scattering stand apart
    assert found.bytes_accessed == moved + (192 + 120 + 160 + 99) + (120 + 210 + 168)


def test_library_calls_are_products():
    assert hlo.read(ASYNCHRONOUS).flop == pytest.approx(2 * 8 * 6 * 5 + 2 * 3 * 4 * 5 * 7)


FUSED = """\
read (p0: f32[9,8], p1: s32[], p2: f32[9,8]) -> f32[9,8] {
  p0 = f32[9,8] parameter(0)
  p1 = s32[] parameter(1)
  p2 = f32[9,8] parameter(2)
  zero = s32[] constant(0)
  flat = f32[9,8] bitcast(p0)
  row = f32[1,8] dynamic-slice(flat, p1, zero), dynamic_slice_sizes={1,8}
  large = f32[900,8] broadcast(row), dimensions={1}
  ROOT out = f32[9,8] dynamic-update-slice(p2, row, p1, zero)
}

ENTRY main (x: f32[9,8], i: s32[], y: f32[9,8]) -> f32[9,8] {
  x = f32[9,8] parameter(0)
  i = s32[] parameter(1)
  y = f32[9,8] parameter(2)
  ROOT out = f32[9,8] fusion(x, i, y), kind=kLoop, calls=read
}
"""


def test_a_fusion_reads_and_writes_the_slices_alone_and_holds_nothing():
    found = hlo.read(FUSED)
    assert found.bytes_accessed == 4 * 8 + 4 + 0 + 4 * 8
    assert found.largest_bytes == 4 * 9 * 8


CHOICE = """\
few (p: f32[2,2]) -> f32[2,2] {
  p = f32[2,2] parameter(0)
  ROOT s = f32[2,2] all-reduce(p), replica_groups={{0,1}}, to_apply=add
}

many (q: f32[2,2]) -> f32[2,2] {
  q = f32[2,2] parameter(0)
  ROOT d = f32[2,2] dot(q, q), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

twice (r: f32[2,2]) -> f32[2,2] {
  r = f32[2,2] parameter(0)
  b = pred[] constant(true)
  v = f32[2,2] conditional(b, r, r), true_computation=few, false_computation=many
  ROOT u = f32[2,2] call(v), to_apply=many
}

ENTRY main (x: f32[2,2]) -> f32[2,2] {
  x = f32[2,2] parameter(0)
  y = f32[2,2] call(x), to_apply=twice
  ROOT z = f32[2,2] call(y), to_apply=twice
}
"""


def test_collectives_of_every_branch_are_listed_and_calls_add_up():
    found = hlo.read(CHOICE)
    assert found.flop == 2 * 2 * (2 * 2**3)
    assert [each.kind for each in found.collectives] == ["all-reduce", "all-reduce"]


@pytest.mark.parametrize(
    ("dtype", "dims", "size"),
    [
        ("f32", (), 4),
        ("pred", (3,), 3),
        ("bf16", (2, 3), 12),
        ("f8e4m3fn", (5,), 5),
        ("s4", (3,), 2),
        ("c64", (2,), 16),
        ("f32", (0, 4), 0),
        ("token", (), 0),
    ],
)
def test_bytes_of_an_array(dtype, dims, size):
    assert Array(dtype, dims).bytes == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no ENTRY"),
        ("%f (x: f32[]) -> f32[] {\n  ROOT %x = f32[] parameter(0)\n}\n", "no ENTRY"),
        ("ENTRY main {\n  nothing here\n}\n", "not an instruction: nothing here"),
        ("ENTRY main {\n  x = f32[]\n}\n", "not an instruction"),
        ("ENTRY main {\n  x = (f32[], f32[] parameter(0)\n}\n", "stays open"),
        ("ENTRY main {\n  x = f32[] add(y, y)\n}\n", "'y', which it does not have"),
        ("ENTRY main {\n  x = f32[] call(), to_apply=f\n}\n", "'f', which it does not have"),
        ("ENTRY main {\n  x = f32[] while(), body=f\n}\n", "while x has no condition"),
    ],
)
def test_what_cannot_be_read_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        hlo.read(text)
