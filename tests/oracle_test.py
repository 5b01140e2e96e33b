import pickle
import struct
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.models import oracle
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import Samples

V, E, H = 6, 3, 4
NAMES = ["emb"]
for gate in "ifoc":
    NAMES += [f"W{gate}", f"U{gate}", f"b{gate}"]
NAMES += ["W_out", "b_out"]


def weights(seed=0, dtype=np.float32):
    """The 15 arrays in the original's order."""
    rng = np.random.default_rng(seed)
    gate_shapes = [(E, H), (H, H), (H,)] * 4
    shapes = [(V, E), *gate_shapes, (H, V), (V,)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def write_pickle(path, value, protocol=pickle.HIGHEST_PROTOCOL):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def assert_loads(path, arrays):
    """The file gives these parameters: gates side by side in the order i, f, o, c."""
    loaded = oracle.load_oracle(path)
    expected = {
        "embedding": arrays[0],
        "input_kernel": np.concatenate(arrays[1:13:3], axis=1),
        "recurrent_kernel": np.concatenate(arrays[2:13:3], axis=1),
        "bias": np.concatenate(arrays[3:13:3]),
        "output_kernel": arrays[13],
        "output_bias": arrays[14],
    }
    assert loaded.params.keys() == expected.keys()
    for name, value in expected.items():
        assert loaded.params[name].dtype == jnp.float32
        np.testing.assert_array_equal(loaded.params[name], value.astype(np.float32), err_msg=name)
    assert loaded.language_model.vocab_size == V


# --- drawn oracles


def test_every_initial_parameter_is_standard_normal():
    params = jax.jit(lambda key: oracle.init_oracle(key, 400, 24, 256).params)(jax.random.key(0))
    assert params["bias"].shape == (4 * 256,)
    for name, leaf in params.items():
        values = np.asarray(leaf, np.float64).ravel()
        # Five standard errors of a normal sample's mean and standard deviation.
        assert abs(values.mean()) < 5 / np.sqrt(values.size), name
        assert abs(values.std() - 1) < 5 / np.sqrt(2 * values.size), name


def test_the_papers_sizes_are_the_default():
    shapes = jax.eval_shape(lambda key: oracle.init_oracle(key).params, jax.random.key(0))
    assert shapes["embedding"].shape == (5000, 32)
    assert shapes["recurrent_kernel"].shape == (32, 4 * 32)


def test_a_drawn_oracle_has_the_sizes_and_start_token_asked_for():
    models = []

    def draw(key):
        model, params = oracle.init_oracle(key, 11, 2, 3, start_token=7)
        models.append(model)
        return params

    shapes = jax.eval_shape(draw, jax.random.key(0))
    assert shapes["embedding"].shape == (11, 2)
    assert shapes["output_kernel"].shape == (3, 11)
    assert (models[0].vocab_size, models[0].start_token) == (11, 7)


# --- files that hold an oracle


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_round_trip(tmp_path, numbered, save):
    path, arrays = tmp_path / "oracle.npz", weights(1)
    if numbered:
        save(path, *arrays)
    else:
        save(path, **dict(zip(NAMES, arrays, strict=True)))
    assert_loads(path, arrays)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("container", [list, tuple])
def test_pickle_round_trip(tmp_path, protocol, container):
    arrays = weights(2)
    assert_loads(write_pickle(tmp_path / "oracle.pkl", container(arrays), protocol), arrays)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4"])
def test_other_floats_are_converted(tmp_path, dtype):
    arrays = weights(3, dtype)
    assert_loads(write_pickle(tmp_path / "oracle.pkl", arrays), arrays)
    np.savez(tmp_path / "oracle.npz", *arrays)
    assert_loads(tmp_path / "oracle.npz", arrays)


def test_fortran_order(tmp_path):
    arrays = [np.asfortranarray(array) for array in weights(4)]
    for protocol in (2, 5):
        assert_loads(write_pickle(tmp_path / "oracle.pkl", arrays, protocol), arrays)


def test_a_path_may_be_a_string(tmp_path):
    assert_loads(str(write_pickle(tmp_path / "oracle.pkl", weights(5))), weights(5))


def python2_text_pickle(arrays, core="numpy.core"):
    """Protocol 0 as Python 2 wrote it: array contents are byte strings, escaped in quotes."""

    def string(raw):
        return b"S'" + "".join(f"\\x{byte:02x}" for byte in raw).encode() + b"'\n"

    parts = [b"("]
    for array in arrays:
        parts += [
            f"c{core}.multiarray\n_reconstruct\n".encode(),
            b"(cnumpy\nndarray\n(I0\nt" + string(b"b") + b"tR",
            b"(I1\n(" + b"".join(b"L%dL\n" % n for n in array.shape) + b"t",
            b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb",
            b"I00\n" + string(array.tobytes()) + b"tb",
        ]
    return b"".join([*parts, b"l."])


def python2_binary_pickle(arrays):
    """Protocol 2 as Python 2 wrote it, with SHORT_BINSTRING and BINSTRING."""
    parts = [b"\x80\x02]("]
    for array in arrays:
        raw = array.tobytes()
        shape = b"".join(b"K" + bytes([n]) for n in array.shape)
        parts += [
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01(" + shape + b"t",
            b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff",
            b"J\xff\xff\xff\xffK\x00tb\x89",
            b"T" + struct.pack("<i", len(raw)) + raw + b"tb",
        ]
    return b"".join([*parts, b"e."])


@pytest.mark.parametrize("write", [python2_text_pickle, python2_binary_pickle])
def test_python_2_pickles(tmp_path, write):
    arrays = weights(6)
    # Bytes above 127 and line ends inside the contents: what latin1 must carry unchanged.
    arrays[3][:] = np.frombuffer(b"\x0a\x0d\xff\x3f" * H, np.float32)
    path = tmp_path / "oracle.pkl"
    path.write_bytes(write(arrays))
    assert_loads(path, arrays)


def test_loaded_gates_follow_the_original_equations(tmp_path):
    arrays = weights(7)
    named = {name: array.astype(np.float64) for name, array in zip(NAMES, arrays, strict=True)}
    loaded = oracle.load_oracle(write_pickle(tmp_path / "oracle.pkl", arrays), start_token=5)
    assert loaded.language_model.start_token == 5

    def sigmoid(x):
        return 1.0 / (1.0 + np.exp(-x))

    step = jax.jit(loaded.language_model.step)
    state = loaded.language_model.initial_state(loaded.params, 2)
    cell = hidden = np.zeros((2, H))
    for token in np.array([[5, 5], [0, 3], [2, 1]], np.int32):
        x = named["emb"][token]
        i, f, o, c = (
            x @ named[f"W{gate}"] + hidden @ named[f"U{gate}"] + named[f"b{gate}"]
            for gate in "ifoc"
        )
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
        state, logits = step(loaded.params, state, token)
        expected = hidden @ named["W_out"] + named["b_out"]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


# --- files that do not


def refused(path, *words):
    """Loading fails with a DataError that names the file and says what is wrong."""
    with pytest.raises(DataError, match=path.name.replace(".", r"\.")) as info:
        oracle.load_oracle(path)
    for word in words:
        assert word in str(info.value)


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def global_call(module, name, argument):
    """A protocol-0 pickle that calls `module.name(argument)`."""
    return f"c{module}\n{name}\n(S{argument!r}\ntR.".encode()


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [
        ("os", "system", "touch {}"),
        ("posix", "system", "touch {}"),
        ("builtins", "eval", "open({!r}, 'w')"),
        ("__builtin__", "eval", "open({!r}, 'w')"),
        ("builtins", "exec", "open({!r}, 'w')"),
        ("subprocess", "getoutput", "touch {}"),
        ("numpy", "memmap", "{}"),
        ("numpy", "load", "{}"),
        ("numpy", "genfromtxt", "{}"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_pickles_that_call_something_never_run(tmp_path, module, name, code, nested):
    trace = tmp_path / "trace"
    raw = global_call(module, name, code.format(str(trace)))
    if nested:  # in a list behind an honest array, as its sixteenth element
        honest = pickle.dumps(weights(), protocol=2)
        raw = honest[:-1] + raw[:-1] + b"a."
    path = tmp_path / "evil.pkl"
    path.write_bytes(raw)
    refused(path, f"{module}.{name}")
    assert not trace.exists()


def test_an_honest_pickle_with_a_sixteenth_element_is_one_that_loads_plainly(tmp_path):
    # The nested case above is well formed: without the filter it would have run.
    honest = pickle.dumps(weights(), protocol=2)
    raw = honest[:-1] + global_call("builtins", "len", "four")[:-1] + b"a."
    assert pickle.loads(raw)[15] == 4
    path = tmp_path / "evil.pkl"
    path.write_bytes(raw)
    refused(path, "builtins.len")


def test_pickles_of_objects_never_run(tmp_path):
    trace = tmp_path / "trace"
    inner = Call(open, str(trace), "w")
    for value in (inner, [*weights(), inner], {"emb": [inner]}, Call(getattr, "", "join")):
        refused(write_pickle(tmp_path / "evil.pkl", value))
    objects = np.empty(1, object)
    objects[0] = inner
    refused(write_pickle(tmp_path / "evil.pkl", [*weights()[:14], objects]))
    np.savez(tmp_path / "evil.npz", *weights()[:14], objects)
    refused(tmp_path / "evil.npz")
    assert not trace.exists()


def test_arrays_are_not_built_over_given_memory(tmp_path):
    # numpy.ndarray(shape, dtype, buffer) is no part of an array's pickle. With dtype "O" it reads
    # the buffer's bytes as pointers to objects, and using one of them ends the interpreter, or
    # runs what the file wants. Floats instead of objects, so that this test survives its failure.
    raw = (
        b"\x80\x02]cnumpy\nndarray\nK\x02\x85cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R"
        b"c_codecs\nencode\nX\x08\x00\x00\x00AAAAAAAAX\x06\x00\x00\x00latin1\x86R\x87Ra."
    )
    assert pickle.loads(raw)[0].shape == (2,)
    path = tmp_path / "evil.pkl"
    path.write_bytes(raw)
    refused(path, "no readable pickle")


def test_pickles_of_numpy_1_load_without_a_warning(tmp_path):
    # NumPy 1 named its inner module numpy.core, which NumPy 2 deprecates.
    for protocol in (2, 5):
        raw = pickle.dumps(weights(), protocol)
        old = raw.replace(b"numpy._core.", b"numpy.core.")
        if protocol == 5:  # names carry their length, frames too
            old = raw.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric")
            old = old[:2] + old[11:]  # without the frame opcode and its length, now one too great
        assert old != raw
        path = tmp_path / f"oracle{protocol}.pkl"
        path.write_bytes(old)
        assert_loads(path, weights())


def test_dotted_names_do_not_reach_around_the_filter(tmp_path):
    # Protocol 4 resolves "ndarray.tofile" by attributes, starting at an admitted module.
    raw = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    assert pickle.loads(raw) is np.ndarray.tofile
    path = tmp_path / "evil.pkl"
    path.write_bytes(raw)
    refused(path, "numpy.ndarray.tofile")


@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_wrong_contents_are_refused(tmp_path, suffix):
    path = tmp_path / f"oracle.{suffix}"

    def write(arrays):
        if suffix == "pkl":
            write_pickle(path, arrays)
        else:
            np.savez(path, *arrays)

    def changed(index, value):
        arrays = weights()
        arrays[index] = value
        return arrays

    write(weights()[:14])
    refused(path, "14" if suffix == "pkl" else "arr_13")
    write([*weights(), np.zeros(3, np.float32)])
    refused(path, "16" if suffix == "pkl" else "arr_15")
    write([])
    refused(path)
    for index, name in enumerate(NAMES):
        # One element too many along the last axis; then an axis too many.
        good = weights()[index]
        if name not in ("emb", "bi"):  # these two define the sizes that the others must have
            write(changed(index, np.concatenate([good, good[..., :1]], axis=-1)))
            refused(path, name, "shape")
        write(changed(index, good[None]))
        refused(path, name)
        for value in (np.nan, np.inf, -np.inf):
            bad = good.copy()
            bad.flat[-1] = value
            write(changed(index, bad))
            refused(path, name, "NaN or infinity")
    write(changed(0, weights()[0][:, :-1]))
    refused(path, "shape")
    write(changed(3, weights()[3][:-1]))
    refused(path, "shape")
    for kind in (np.int32, np.complex64, bool, "S4"):
        write(changed(5, np.zeros((H, H), kind)))
        refused(path, "Uf")


@pytest.mark.parametrize(
    "value",
    [None, 3.5, "text", {}, {"emb": 1}, np.zeros(15, np.float32), [1.0] * 15, [[0.0]] * 15],
)
def test_other_pickled_values_are_refused(tmp_path, value):
    refused(write_pickle(tmp_path / "oracle.pkl", value))


def test_object_arrays_are_refused(tmp_path):
    for value in (np.array([None] * H), np.array([1.5, 2.5, 3.5, 4.5], object)):
        arrays = weights()
        arrays[3] = value
        refused(write_pickle(tmp_path / "oracle.pkl", arrays), "object")
        np.savez(tmp_path / "oracle.npz", *arrays)
        refused(tmp_path / "oracle.npz")


def test_misnamed_npz_entries_are_refused(tmp_path):
    named = dict(zip(NAMES, weights(), strict=True))
    named["Wx"] = named.pop("Wi")
    np.savez(tmp_path / "oracle.npz", **named)
    refused(tmp_path / "oracle.npz", "Wx", "Wi")


@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"oracle.{suffix}"
    if suffix == "pkl":
        write_pickle(path, weights())
    else:
        np.savez_compressed(path, *weights())
    whole = path.read_bytes()
    for size in [0, 1, 10, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(path)
    for text in (b"not an oracle", b"\x00" * 100):
        path.write_bytes(text)
        refused(path)


@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_corrupted_bytes_are_refused_or_leave_an_oracle(tmp_path, suffix):
    # Whatever a changed byte does, nothing but a DataError that names the file comes out.
    path, rng = tmp_path / f"oracle.{suffix}", np.random.default_rng(8)
    if suffix == "pkl":
        write_pickle(path, weights(), protocol=4)
    else:
        np.savez_compressed(path, *weights())
    whole, messages = path.read_bytes(), []
    for _ in range(150):
        raw = bytearray(whole)
        for position in rng.integers(0, len(raw), 3):
            raw[position] = rng.integers(0, 256)
        path.write_bytes(bytes(raw))
        with warnings.catch_warnings():
            # zipfile and NumPy warn of some damage; what matters here is how it ends.
            warnings.simplefilter("ignore")
            try:
                oracle.load_oracle(path)
            except DataError as error:
                messages.append(str(error))
    assert len(messages) > 50
    assert all(path.name in message for message in messages)


def test_an_npy_under_the_name_of_an_npz_is_refused(tmp_path):
    path = tmp_path / "oracle.npz"
    with open(path, "wb") as file:
        np.save(file, weights()[0])
    refused(path)


def test_a_pickle_under_the_name_of_an_npz_is_refused(tmp_path):
    refused(write_pickle(tmp_path / "oracle.npz", weights()))


@pytest.mark.parametrize("name", ["oracle.txt", "oracle", "oracle.pkl.gz", "oracle.npy"])
def test_other_kinds_of_files_are_refused(tmp_path, name):
    path = tmp_path / name
    write_pickle(path, weights())
    refused(path, ".pkl", ".npz")


@pytest.mark.parametrize("name", ["none.pkl", "none.npz"])
def test_a_missing_file_is_said_to_be_missing(tmp_path, name):
    with pytest.raises(DataError, match=f"{name}: no such file"):
        oracle.load_oracle(tmp_path / name)


# --- the published weights


def test_the_published_oracle_has_its_known_likelihoods(published_oracle_path):
    published = oracle.load_oracle(published_oracle_path)
    model = published.language_model
    assert model.vocab_size == 5000
    samples = sample(model, published.params, jax.random.key(0), batch_size=10_000, length=20)
    own = negative_log_likelihood(model, published.params, samples)
    # Its own entropy per token, as others have measured it: 5.74 to 5.76 (LeakGAN, issue 17).
    assert 5.74 <= own <= 5.77
    uniform = jnp.asarray(np.random.default_rng(0).integers(0, 5000, (1000, 20)), jnp.int32)
    random = negative_log_likelihood(
        model, published.params, Samples(uniform, jnp.ones(uniform.shape, bool))
    )
    # The README of CoT gives 11.44 for uniform tokens.
    assert abs(random - 11.44) <= 0.03
