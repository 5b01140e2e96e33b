"""Settings: conversion, refusals that help, and the configs that are shipped."""

import dataclasses
import importlib.util
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from seqgan_jax.checked import ConfigError, differences, from_mapping, to_dict
from seqgan_jax.data_hparams import MusicDataHParams, OracleDataHParams, TextDataHParams
from seqgan_jax.hparams import (
    FILTERS_20,
    FILTERS_32,
    DiscriminatorHParams,
    HParams,
    TrainingHParams,
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
VARIANTS = [
    *[("oracle", variant) for variant in ("", "frontier", "cnn", "compare", "paper", "smoke")],
    *[(name, variant) for name in ("text", "poems", "music") for variant in ("", "smoke")],
]


def config_of(name, variant):
    path = ROOT / "configs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"configs_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def small(**sections):
    """A valid experiment on short sequences, with some fields of some sections replaced."""
    fields = {
        "data": {"vocab_size": 9, "length": 4, "num_train": 32, "num_test": 8},
        "discriminator": {"filters": ((1, 2), (4, 2))},
        "schedule": {"batch_size": 8, "d_samples": 16, "d_batch_size": 8},
        "evaluation": {"eval_samples": 8},
    }
    for section, values in sections.items():
        fields[section] = {**fields.get(section, {}), **values}
    return from_mapping(HParams, fields)


# Conversion.


@pytest.mark.parametrize(
    "hparams",
    [
        HParams(),
        small(training={"reward": "logit", "g_clip_norm": 2.5}, model={"cell": "gru"}),
        small(discriminator={"filters": ((2, 3),), "softmax_head": True}),
    ],
    ids=["default", "training", "discriminator"],
)
def test_to_dict_and_from_mapping_are_inverse(hparams):
    fields = to_dict(hparams)
    assert from_mapping(HParams, fields) == hparams
    # Through a file too: lists for tuples, and nothing that JSON does not know.
    assert from_mapping(HParams, json.loads(json.dumps(fields))) == hparams


def test_to_dict_is_plain():
    fields = to_dict(small())
    assert fields["data"]["length"] == 4
    assert fields["discriminator"]["filters"] == [[1, 2], [4, 2]]
    assert set(fields) == {field.name for field in dataclasses.fields(HParams)}


def test_a_missing_field_keeps_its_default():
    assert from_mapping(HParams, {}) == HParams()
    changed = from_mapping(HParams, {"training": {"d_l2": 0.5}})
    assert changed == HParams(training=TrainingHParams(d_l2=0.5))


def test_an_int_for_a_float_is_converted():
    hparams = from_mapping(TrainingHParams, {"g_clip_norm": 3})
    assert hparams.g_clip_norm == 3.0
    assert type(hparams.g_clip_norm) is float


def test_a_config_dict_is_a_mapping_at_any_depth():
    config = ml_collections.ConfigDict({"training": {"d_l2": 0.5}})
    assert from_mapping(HParams, config) == from_mapping(HParams, config.to_dict())
    assert from_mapping(HParams, config).training.d_l2 == 0.5


def test_settings_are_hashable_and_static_for_jit():
    assert hash(small()) == hash(small())
    assert len({small(), small(), small(training={"d_l2": 0.5})}) == 2
    scale = jax.jit(lambda x, hparams: x * hparams.training.d_l2, static_argnums=1)
    np.testing.assert_allclose(scale(jnp.ones(()), small(training={"d_l2": 0.5})), 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().seed = 3


# Refusals. Each names the field, the value and what would do.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traning": {}}, "config.traning: no such field; did you mean training?"),
        (
            {"training": {"g_learning_rat": 0.1}},
            "config.training.g_learning_rat: no such field; did you mean g_learning_rate?",
        ),
        ({"model": {"xyz": 1}}, "there are: cell, embed_dim, hidden_dim, init_scale"),
        ({"method": "seqgam"}, "config.method='seqgam': did you mean seqgan?"),
        (
            {"training": {"baseline": "leave_one_ou"}},
            "config.training.baseline='leave_one_ou': did you mean leave_one_out?",
        ),
        ({"model": {"cell": "xx"}}, "config.model.cell='xx': there are: lstm, gru"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(fields, message):
    with pytest.raises(ConfigError) as refusal:
        from_mapping(HParams, fields)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": {"length": "20"}}, "config.data.length='20': must be of type int"),
        ({"data": {"length": 20.0}}, "config.data.length=20.0: must be of type int"),
        ({"data": {"length": True}}, "config.data.length=True: must be of type int"),
        ({"data": {"length": None}}, "config.data.length=None: must be of type int"),
        ({"training": {"d_l2": "x"}}, "config.training.d_l2='x': must be of type float"),
        ({"training": {"d_l2": True}}, "config.training.d_l2=True: must be of type float"),
        ({"discriminator": {"softmax_head": 1}}, "softmax_head=1: must be of type bool"),
        ({"data": {"oracle_path": 3}}, "config.data.oracle_path=3: must be of type str"),
        ({"data": 3}, "config.data=3: must be a section with fields of its own"),
        ({"discriminator": {"filters": 3}}, "config.discriminator.filters=3: must be pairs"),
        ({"discriminator": {"filters": ((1, 2, 3),)}}, "must be pairs (width, number)"),
        ({"discriminator": {"filters": ((1.5, 2),)}}, "config.discriminator.filters"),
    ],
)
def test_a_wrong_type_is_refused(fields, message):
    with pytest.raises(ConfigError) as refusal:
        from_mapping(HParams, fields)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"data": {"length": 0}},
            "config.data.length=0: must be at least 1; the nearest right value is 1",
        ),
        (
            {"seed": -1},
            "config.seed=-1: must be at least 0; the nearest right value is 0",
        ),
        (
            {"seed": 2**32},
            "config.seed=4294967296: must be at most 4294967295; "
            "the nearest right value is 4294967295",
        ),
        (
            {"training": {"g_learning_rate": 0.0}},
            "config.training.g_learning_rate=0.0: must be above 0.0; "
            "the nearest right value is one just above 0.0",
        ),
        (
            {"discriminator": {"dropout_rate": 1.0}},
            "config.discriminator.dropout_rate=1.0: must be below 1.0; "
            "the nearest right value is one just below 1.0",
        ),
        (
            {"training": {"rollout_update_rate": 1.5}},
            "config.training.rollout_update_rate=1.5: must be at most 1.0; "
            "the nearest right value is 1.0",
        ),
        ({"training": {"d_l2": float("nan")}}, "config.training.d_l2=nan: must be finite"),
        ({"training": {"d_l2": float("inf")}}, "config.training.d_l2=inf: must be finite"),
        ({"discriminator": {"filters": ()}}, "needs at least one (width, number)"),
        ({"discriminator": {"filters": ((0, 5),)}}, "(0, 5) must be (width >= 1, number >= 1)"),
        ({"discriminator": {"filters": ((2, 0),)}}, "(2, 0) must be (width >= 1, number >= 1)"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_nearest(fields, message):
    with pytest.raises(ConfigError) as refusal:
        from_mapping(HParams, fields)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"data": {"length": 3}},
            "discriminator.filters=((1, 2), (4, 2)): width 4 does not fit sequences of "
            "data.length=3; the widest that fits is 3",
        ),
        (
            {"schedule": {"batch_size": 33}},
            "schedule.batch_size=33: more than the 32 sequences of data.num_train; "
            "the nearest right value is 32",
        ),
        (
            {"schedule": {"d_samples": 33}},
            "schedule.d_samples=33: more than the 32 sequences of data.num_train; "
            "the nearest right value is 32",
        ),
        (
            {"schedule": {"d_batch_size": 33}},
            "schedule.d_batch_size=33: more than the 32 sequences of 2 * schedule.d_samples; "
            "the nearest right value is 32",
        ),
        (
            {"evaluation": {"eval_samples": 9}},
            "evaluation.eval_samples=9: more than the 8 sequences of data.num_test; "
            "the nearest right value is 8",
        ),
        (
            {"schedule": {"batch_size": 1}, "training": {"baseline": "prefix"}},
            "schedule.batch_size=1: training.baseline=prefix needs at least 2",
        ),
        (
            {"discriminator": {"kind": "density"}},
            "training.d_l2=0.2: a density has no penalty; give 0",
        ),
        (
            {"discriminator": {"kind": "density", "softmax_head": True}, "training": {"d_l2": 0.0}},
            "discriminator.softmax_head=True: a density has none; give False",
        ),
        (
            {"training": {"reward": "likelihood_ratio"}},
            "training.reward='likelihood_ratio': a discriminator of kind text_cnn knows no",
        ),
        (
            {
                "data": {"vocab_size": 20},
                "discriminator": {"kind": "density"},
                "training": {"reward": "likelihood_ratio", "d_l2": 0.0, "reward_min_nll": 3.0},
            },
            "training.reward_min_nll=3.0: not below the NLL of uniform tokens, "
            "ln(data.vocab_size) = 3.00",
        ),
        (
            {"schedule": {"batch_size": 1}, "training": {"baseline": "leave_one_out"}},
            "schedule.batch_size=1: training.baseline=leave_one_out needs at least 2",
        ),
    ],
)
def test_sections_that_contradict_each_other_are_refused(sections, message):
    with pytest.raises(ConfigError) as refusal:
        small(**sections)
    assert f"config.{message}" in str(refusal.value)


def test_a_width_is_named_once():
    with pytest.raises(ConfigError, match="each width once"):
        DiscriminatorHParams(filters=((1, 4), (2, 3), (1, 5)))


@pytest.mark.parametrize("method", ["maligan", "rankgan"])
def test_methods_that_compare_a_batch_need_two(method):
    with pytest.raises(ConfigError, match=f"schedule.batch_size=1: method={method} compares"):
        dataclasses.replace(
            HParams(), method=method, schedule=dataclasses.replace(HParams().schedule, batch_size=1)
        )


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"length": 4}},  # the widest filter just fits
        {"schedule": {"batch_size": 32}},
        {"schedule": {"d_samples": 32}},
        {"schedule": {"d_batch_size": 32}},
        {"schedule": {"batch_size": 1}},
        {"schedule": {"g_pretrain_epochs": 0, "d_pretrain_steps": 0, "rounds": 0, "d_steps": 0}},
        {"training": {"rollout_update_rate": 1.0, "d_l2": 0.0, "baseline_decay": 0.0}},
        {
            "discriminator": {"kind": "density", "filters": ((99, 1),)},  # a density has no filters
            "training": {"d_l2": 0.0},
        },
        {"discriminator": {"dropout_rate": 0.0}},
    ],
)
def test_values_on_the_edge_are_accepted(sections):
    hparams = small(**sections)
    for section, values in sections.items():
        for name, value in values.items():
            assert getattr(getattr(hparams, section), name) == value


def test_a_record_checks_itself_without_a_config():
    with pytest.raises(ConfigError, match=r"length=0: must be at least 1"):
        OracleDataHParams(length=0)
    with pytest.raises(ConfigError, match=r"reward='probabilty': did you mean probability\?"):
        TrainingHParams(reward="probabilty")
    with pytest.raises(ConfigError, match="needs at least one"):
        DiscriminatorHParams(filters=())
    with pytest.raises(ConfigError, match="does not fit"):
        HParams(data=OracleDataHParams(length=19))


def test_differences():
    one = {"a": 1, "b": {"c": 2, "d": 3, "e": {"f": 4}}, "g": 5}
    other = {"a": 1, "b": {"c": 7, "d": 3, "e": {"f": 8}}, "h": None}
    assert differences(one, other) == [
        "b.c: 2 != 7",
        "b.e.f: 4 != 8",
        "g: 5 != '(absent)'",
        "h: '(absent)' != None",
    ]
    assert differences(one, one) == []


# The configs that are shipped.


def field_tree(record):
    """Names of fields, nested."""
    return {
        field.name: field_tree(value) if dataclasses.is_dataclass(value) else None
        for field in dataclasses.fields(record)
        for value in [getattr(record, field.name)]
    }


def key_tree(mapping):
    return {
        name: key_tree(value) if isinstance(value, dict) else None
        for name, value in mapping.items()
    }


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_config_lists_every_field_and_converts(name, variant):
    fields = config_of(name, variant).to_dict()
    assert key_tree(fields) == field_tree(from_mapping(HParams, fields))
    # Nothing but lists for tuples may change on the way.
    assert json.loads(json.dumps(fields)) == to_dict(from_mapping(HParams, fields))


def test_every_config_file_is_tested():
    found = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"__init__"}
    assert found == {name for name, _ in VARIANTS}


def test_variants_differ_and_others_are_refused():
    made = [from_mapping(HParams, config_of(*each).to_dict()) for each in VARIANTS]
    assert len(set(made)) == len(VARIANTS)
    variants = "the variants are frontier, cnn, compare, paper and smoke"
    with pytest.raises(ValueError, match=variants):
        config_of("oracle", "papers")
    for name in ("text", "poems", "music"):
        with pytest.raises(ValueError, match="the only variant is smoke"):
            config_of(name, "papers")


def test_the_paper_variant_is_the_paper():
    """Value by value, from arXiv 1609.05473 and its code, not from the library's defaults."""
    assert config_of("oracle", "paper").to_dict() == {
        "method": "seqgan",
        "seed": 0,
        "num_seeds": 1,
        "precision": "float32",
        "prng": "threefry2x32",
        "mesh": {"data": 0, "model": 1},
        "data": {
            "kind": "oracle",
            "oracle_path": "",
            "seed": 0,
            "vocab_size": 5000,
            "length": 20,
            "oracle_embed_dim": 32,
            "oracle_hidden_dim": 32,
            "num_train": 10_000,
            "num_test": 10_000,
        },
        "model": {"cell": "lstm", "embed_dim": 32, "hidden_dim": 32, "init_scale": 0.1},
        "discriminator": {
            "kind": "text_cnn",
            "embed_dim": 64,
            "hidden_dim": 32,  # no part of a text CNN
            "filters": (
                *((1, 100), (2, 200), (3, 200), (4, 200), (5, 200), (6, 100)),
                *((7, 100), (8, 100), (9, 100), (10, 100), (15, 160), (20, 160)),
            ),
            "dropout_rate": 0.25,  # keep 0.75
            "softmax_head": True,  # 2-way softmax
        },
        "training": {
            "mle_learning_rate": 0.01,
            "mle_dropout_rate": 0.0,
            "mle_weight_decay": 0.0,
            "g_learning_rate": 0.01,
            "d_learning_rate": 1e-4,
            "g_clip_norm": 5.0,
            "d_l2": 0.2,
            "reward": "probability",
            "reward_entropy": 1.0,  # this and the next not used by a probability
            "reward_min_nll": 0.0,
            "reward_per_token": False,
            "baseline": "none",
            "baseline_decay": 0.9,  # not used without a baseline
            "num_rollouts": 16,
            "rollout_chunk": 2,  # memory, not the result
            "rollout_policy": "copy",
            "rollout_update_rate": 0.8,  # not used by a copy
            # Of other methods.
            "sampling_schedule": "linear",
            "sampling_fall": 1.3e-5,  # 0.002 an epoch of 156 steps
            "sampling_least": 0.0,
            "bleu_order": 3,
            "bleu_references": 0.4,
            "relaxation_temperature": 0.1,
            "relaxation_least": 0.1,
            "relaxation_fall": 0.01,
            "straight_through": False,
            "critic_g_learning_rate": 0.001,  # the source's 5e-5 is for 10^5 updates
            "d_weight_clip": 0.01,  # arXiv 1701.07875
            "gradient_penalty": 10.0,  # arXiv 1704.00028
            "rank_sharpness": 10.0,
        },
        "schedule": {
            "batch_size": 64,
            "g_pretrain_epochs": 120,
            "g_patience": 0,
            "d_pretrain_steps": 50,
            "rounds": 200,
            "g_steps": 1,
            "d_steps": 5,
            "d_epochs": 3,
            "d_samples": 10_000,
            "d_batch_size": 64,
        },
        "evaluation": {
            "eval_every": 5,
            "eval_samples": 10_000,
            "num_written": 1_000,
            "checkpoint_seconds": 60.0,
            "keep_last": 2,
            "keep_best": 1,
            "best_metric": "auto",
        },
    }


def test_the_published_filters():
    ten = ((1, 100), (2, 200), (3, 200), (4, 200), (5, 200))
    ten += ((6, 100), (7, 100), (8, 100), (9, 100), (10, 100))
    assert (*ten, (15, 160), (20, 160)) == FILTERS_20
    assert (*ten, (16, 160), (24, 160), (32, 160)) == FILTERS_32


# Data of other kinds.


def test_the_kind_of_data_chooses_its_record():
    text = from_mapping(HParams, {"data": {"kind": "text", "path": "x", "max_length": 9}})
    assert text.data == TextDataHParams(path="x", max_length=9)
    assert from_mapping(HParams, json.loads(json.dumps(to_dict(text)))) == text
    assert from_mapping(HParams, {"data": {"kind": "music"}}).data == MusicDataHParams()
    # Without a kind, as settings saved by earlier versions have it: an oracle's.
    assert from_mapping(HParams, {"data": {"length": 30}}).data == OracleDataHParams(length=30)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "texts"}, "config.data.kind='texts': did you mean text?"),
        ({"kind": "music", "level": "word"}, "config.data.level: no such field"),
        ({"kind": "text", "min_length": 9, "max_length": 8}, "the nearest right value is 8"),
        ({"kind": "text", "drop_spaces": True}, "config.data.drop_spaces=True"),
        ({"kind": "text", "test_fraction": 1.0}, "must be below 1.0"),
        ({"kind": "text", "level": "words"}, "did you mean word?"),
        ({"kind": "music", "seconds_per_step": 0.0}, "must be at least 0.001"),
    ],
)
def test_settings_of_data_are_checked(data, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        from_mapping(HParams, {"data": data})


def test_sizes_of_files_are_not_known_beforehand():
    assert HParams().sizes == (5000, 20, 10_000, 10_000)
    with pytest.raises(ConfigError, match=r"data\.kind='text': sizes are known once"):
        _ = from_mapping(HParams, {"data": {"kind": "text"}}).sizes
