"""Melodies from MIDI files (arXiv 1609.05473, section 5.2).

  python bin/train.py --config=configs/music.py --config.data.path=FOLDER
MIDI files, read by mido: pip install -e '.[music]'. At 0.4 s a step, the paper's, tunes at 120
beats a minute do not fall on the beat; --config.data.seconds_per_step=0.25 gives their eighths.
With the tunes of Nottingham: 10 minutes on 2 cores, BLEU-4 .924 at an NLL_test of 2.141,
docs/results.md.

  --config=configs/music.py:smoke   every phase, small
"""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.method = "seqgan"  # see "Methods" in README.md
    config.seed = 0  # of the models and the training; the data has its own
    config.num_seeds = 1  # as many runs, of seed, seed + 1 and so on, in one computation
    config.precision = "float32"  # or bfloat16: products; parameters, sums and softmax stay float32
    config.prng = "threefry2x32"  # or rbg, faster on accelerators; draws then depend on the devices

    config.mesh = ml_collections.ConfigDict()
    config.mesh.data = 0  # devices that share the rows of a batch; 0: all that there are
    config.mesh.model = 1  # devices that share the vocabulary

    config.data = ml_collections.ConfigDict()
    config.data.kind = "music"
    config.data.path = ""  # MIDI: a file, a folder, or a .tar.gz, .tar or .zip of such files
    config.data.test_path = ""  # the same, to test with; "": a seeded share of the first
    config.data.test_fraction = 0.1  # that share, of whole files
    config.data.seed = 0  # of the split
    config.data.seconds_per_step = 0.4  # one symbol each: the paper's
    config.data.length = 32  # T, steps a sequence: the paper's
    # Steps from one sequence of a melody to the next: below T they overlap, but for test data.
    config.data.stride = 16

    config.model = ml_collections.ConfigDict()
    config.model.cell = "lstm"  # or gru
    config.model.embed_dim = 32
    config.model.hidden_dim = 128
    config.model.init_scale = 0.1  # every initial parameter is N(0, 0.1^2)

    config.discriminator = ml_collections.ConfigDict()
    # A language model judged against G's own likelihood; text_cnn, the paper's; or bigru
    config.discriminator.kind = "density"
    config.discriminator.embed_dim = 32
    config.discriminator.hidden_dim = 128  # of a density or bigru
    config.discriminator.filters = (
        (1, 50),
        (2, 100),
        (3, 100),
        (4, 100),
        (5, 50),
        (10, 50),
        (16, 50),
        (32, 50),
    )  # of a text_cnn, like softmax_head: (width, number)
    config.discriminator.dropout_rate = 0.5
    config.discriminator.softmax_head = False  # two output units, as in the original code

    config.training = ml_collections.ConfigDict()
    config.training.mle_learning_rate = 0.005  # of Adam, like the next two rates
    config.training.mle_dropout_rate = 0.5  # of the features before the output layer
    config.training.mle_weight_decay = 0.0
    config.training.g_learning_rate = 0.002
    config.training.d_learning_rate = 0.005
    config.training.g_clip_norm = 5.0  # global norm of the generator's gradients
    config.training.d_l2 = 0.0  # weight of the output layer's L2; of a density 0
    # probability (the paper's D), log_probability, logit, centred (2 D - 1), likelihood_ratio
    config.training.reward = "likelihood_ratio"
    # Of the likelihood ratio: the weight of G's entropy, and the NLL under D (nats per token) below
    # which nothing more is gained.
    config.training.reward_entropy = 0.8
    config.training.reward_min_nll = 0.0
    config.training.reward_per_token = False  # as if all sequences were of one length
    config.training.baseline = "prefix"  # none, batch_mean, leave_one_out, moving_average
    config.training.baseline_decay = 0.9  # of the moving average
    config.training.num_rollouts = 4  # N
    config.training.rollout_chunk = 4  # rollouts live at a time: memory, not the result
    config.training.rollout_policy = "copy"  # moving_average, frozen
    config.training.rollout_update_rate = 0.8  # share of the old policy in the moving average
    # Of one method each; the others do not look at them.
    # scheduled_sampling: the share of true tokens fed falls from 1, linear, exponential or
    # inverse_sigmoid, by this an update (0.002 an epoch of 156, the paper's), and no lower than
    config.training.sampling_schedule = "linear"
    config.training.sampling_fall = 1.3e-5
    config.training.sampling_least = 0.0
    config.training.bleu_order = 3  # pg_bleu: the reward's n, and the share of the
    config.training.bleu_references = 0.4  # training sequences that it is taken against
    # gumbel_softmax: the temperature falls by the factor exp(-fall) an update, from, to; above
    # some 0.3 the discriminator tells relaxed tokens by their softness, and teaches nothing else,
    # so that it begins, and stays, at the least
    config.training.relaxation_temperature = 0.1
    config.training.relaxation_least = 0.1
    config.training.relaxation_fall = 0.01
    config.training.straight_through = False  # whole tokens forward, relaxed ones backward
    # wgan, wgan_gp: of the generator, whose optimisers are the sources'; these take 5e-5 and 1e-4
    # for 10^5 updates
    config.training.critic_g_learning_rate = 0.001
    config.training.d_weight_clip = 0.01  # wgan: every weight of the critic stays within it
    config.training.gradient_penalty = 10.0  # wgan_gp: lambda
    config.training.rank_sharpness = 10.0  # rankgan: gamma, on cosines

    config.schedule = ml_collections.ConfigDict()
    config.schedule.batch_size = 64
    config.schedule.g_pretrain_epochs = 10
    config.schedule.g_patience = 0  # epochs without a lower NLL_test that end it; 0: never
    config.schedule.d_pretrain_steps = 60  # each: d_samples fresh negatives, d_epochs passes
    config.schedule.rounds = 15
    config.schedule.g_steps = 5  # a round
    config.schedule.d_steps = 1  # a round
    config.schedule.d_epochs = 1  # passes over each d-step's sequences
    config.schedule.d_samples = 2_000  # negatives, and as many positives, a d-step
    config.schedule.d_batch_size = 128  # real and generated together

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.eval_every = 5  # epochs, d-steps or rounds; the first and last of them too
    config.evaluation.eval_samples = 2000
    config.evaluation.num_written = 1_000  # sequences in samples.txt
    config.evaluation.checkpoint_seconds = 60.0  # time between checkpoints
    config.evaluation.keep_last = 2  # newest checkpoints kept
    config.evaluation.keep_best = 1  # and, beside them, the best of the rounds
    config.evaluation.best_metric = "auto"  # BLEU-4, or one of metrics.jsonl by name

    if variant == "smoke":
        config.model.embed_dim = config.model.hidden_dim = 16
        config.discriminator.embed_dim = config.discriminator.hidden_dim = 16
        config.training.num_rollouts = config.training.rollout_chunk = 2
        config.schedule.g_pretrain_epochs = 2
        config.schedule.d_pretrain_steps = 2
        config.schedule.rounds = 2
        config.schedule.g_steps = 1
        config.schedule.d_samples = 256
        config.evaluation.eval_every = 1
        config.evaluation.eval_samples = 256
        config.evaluation.num_written = 50
    elif variant:
        raise ValueError(f"configs/music.py:{variant}: the only variant is smoke")
    return config
