"""What people call hyper-parameters, mapped to one vocabulary: one table to read and extend, and a function over it."""

import re

# The vocabulary of settings. Fixes name their changes by these.
SETTINGS = (
    "learning_rate", "min_learning_rate", "warmup", "schedule", "gradient_clip_norm", "gradient_clip_value", "weight_decay", "dropout",
    "label_smoothing", "batch_size", "accumulation", "epochs", "max_steps", "patience",
    "optimizer", "momentum", "beta1", "beta2", "epsilon", "precision",
    "loss_scale", "initialization", "activation", "normalization", "model_width", "model_depth", "model", "dataset", "shuffle", "loss",
    "frozen_parameters", "train_samples",
    "val_samples", "classes", "vocabulary", "outputs", "parameters", "trainable_parameters", "seed", "log_every", "gpus",
)  # fmt: skip


NAMED_BY_WORDS = frozenset({"loss", "model", "dataset", "optimizer", "schedule", "activation"})  # settings that no number says
# Those that a number says; text for one of them, such as `epoch: latest`, is about something else.
NUMERIC = frozenset({
    "epochs", "max_steps", "batch_size", "seed", "gpus", "parameters", "trainable_parameters", "learning_rate", "min_learning_rate", "momentum",
    "weight_decay", "beta1", "beta2", "epsilon", "gradient_clip_norm", "gradient_clip_value", "patience", "accumulation", "model_width",
    "model_depth", "train_samples", "val_samples", "classes", "vocabulary", "log_every", "label_smoothing", "dropout", "loss_scale",
})  # fmt: skip


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Spellings of the last part of a key, words joined by "_". A spelling that holds a dot names the part before it as well.
_SPELLINGS: dict[str, str] = {
    "learning_rate": (
        "lr learning_rate learningrate base_lr max_lr peak_lr init_lr initial_lr lr0 lr_init lr_base lr_max lr_peak start_lr learn_rate "
        "initial_learning_rate init_learning_rate base_learning_rate peak_learning_rate max_learning_rate lr_initial blr lrate optimizer_lr "
        "alpha_lr optim_lr optimizer_learning_rate lr_value lr_g lr_d g_lr d_lr glr dlr lr_gen lr_disc lr_generator lr_discriminator "
        "pi_lr q_lr vf_lr actor_lr critic_lr lr_actor lr_critic policy_lr lr_policy"
    ),
    "min_learning_rate": "min_lr lr_min eta_min min_learning_rate final_lr end_lr end_learning_rate lr_end stop_min_lr",
    "warmup": (
        "warmup warmup_steps warmup_ratio warmup_epochs warmup_iters warmup_iterations warmup_updates warmup_proportion warmup_fraction "
        "warmup_frac num_warmup_steps num_warmup_epochs lr_warmup lr_warmup_iters lr_warmup_samples lr_warmup_fraction lr_warmup_steps "
        "lr_warmup_epochs warm_up warm_up_steps warm_up_epochs warm_up_ratio warmup_num_steps n_warmup_steps warmup_tokens warmup_period "
        "warmup.steps warmup.epochs warmup.iters warmup.ratio warmup_t warmup_step warmup_epoch optimizer_warmup scheduler.warmup linear_warmup "
        "use_warmup warmup_percent warmup_pct"
    ),
    "schedule": (
        "schedule scheduler lr_scheduler lr_schedule lr_scheduler_type lr_decay_style sched scheduler_type scheduler_name lr_policy "
        "lr_scheduler_name learning_rate_schedule lr_mode decay_type lr_decay_type scheduler.type scheduler.name scheduler._target_ "
        "lr_scheduler.type lr_scheduler.name lr_scheduler._target_ sched.name sched.type sched._target_ schedule.type schedule.name "
        "lr_scheduler.class_path scheduler.class_path lr_config.policy cos_lr decay_lr lr_sched lrschedule lr_scheduler.class_name "
        "anneal_strategy scheduler_class"
    ),
    "gradient_clip_norm": (
        "gradient_clip_norm grad_clip max_grad_norm clip_grad gradient_clip_val clipnorm global_clipnorm grad_clip_norm clip_norm clip_grad_norm "
        "gradient_clip gradient_clipping grad_clipping grad_norm_clip clip clip_gradient clip_gradients max_norm gradient_clip_max_norm "
        "gradient_max_norm grad_max_norm grad_norm_max clip_max_norm gclip clipping grad_clip_val norm_clip max_gradient_norm grad_clip.max_norm "
        "grad_clip_max_norm gradient_clip_thresh grad_clip_thresh clip_val clip_grads grad_norm_clipping gradient_clip_norm_value "
        "grad_norm_threshold clip_threshold clip.norm"
    ),
    "gradient_clip_value": (
        "gradient_clip_value clipvalue clip_value grad_clip_value clip_grad_value clip.value grad_clip.value gradient_clipping.value "
        "max_grad_value grad_clip.clip_value"
    ),
    "weight_decay": (
        "weight_decay wd l2 l2_reg weightdecay l2_regularization decay_weight reg_l2 optimizer_weight_decay l2_lambda weight_decay_rate "
        "reg_lambda lambda_l2 l2_penalty wdecay reg.l2 regularization.l2 regularizer.l2"
    ),
    "dropout": (
        "dropout drop drop_rate dropout_rate p_dropout dropout_p dropout_prob dropout_probability hidden_dropout hidden_dropout_prob attn_pdrop "
        "resid_pdrop embd_pdrop attention_dropout attention_probs_dropout_prob classifier_dropout attn_dropout dropout.p residual_dropout "
        "ffn_dropout fc_dropout final_dropout drop_prob dropout_ratio emb_dropout embedding_dropout lora_dropout head_dropout "
        "classifier_drop_rate input_dropout pdrop p_drop drop_out"
    ),
    "label_smoothing": (
        "label_smoothing smoothing label_smoothing_factor label_smooth ls lsm_weight label_smoothing_eps smoothing_factor label_smoothing_epsilon"
    ),
    "batch_size": (
        "batch_size bs batchsize batch train_batch_size per_device_train_batch_size per_gpu_train_batch_size micro_batch_size batch_size_train "
        "train_bs batch_size_per_gpu batch_size_per_device samples_per_gpu local_batch_size train_micro_batch_size_per_gpu device_batch_size "
        "training_batch_size batchsize_per_gpu minibatch_size mini_batch_size micro_batch ims_per_batch batch.size bsz n_batch b_size "
        "device_train_microbatch_size total_batch_size_train train_batchsize"
    ),
    "accumulation": (
        "accumulation gradient_accumulation_steps accumulate_grad_batches grad_accum grad_accum_steps accum_iter accum_steps accumulation_steps "
        "accum_grad update_freq gradient_accumulation grad_accumulation_steps grad_accumulation accumulate grad_acc_steps n_accumulate grad_acc "
        "iter_size accum gradient_accumulation_iters num_accumulation_steps accumulate_steps virtual_batch_factor gradient_accumulate_every"
    ),
    "epochs": (
        "epochs num_train_epochs max_epochs max_epoch n_epochs num_epochs nepochs nepoch n_epoch total_epochs epoch train_epochs "
        "number_of_epochs nb_epoch nb_epochs epoch_num num_epoch training_epochs end_epoch total_epoch epochs_total epochs_num max_num_epochs "
        "no_epochs no_of_epochs num_rounds"
    ),
    "max_steps": (
        "max_steps max_iters max_iter total_steps train_iters num_train_steps num_steps n_steps max_train_steps max_update max_updates "
        "total_iterations num_iterations iterations n_iters num_iters training_steps train_steps total_iters total_timesteps max_iterations "
        "total_iter niter n_iter total_num_steps num_training_steps max_step steps num_updates n_updates updates timesteps niters "
        "nsteps after_batches total_training_steps total_train_steps"
    ),
    "patience": (
        "patience early_stopping_patience early_stop_patience early_stopping early_stop early_stopping_rounds es_patience early_stopping.patience "
        "earlystopping.patience early_stop.patience"
    ),
    "optimizer": (
        "optimizer optim opt optimizer_name optimizer_type optim_name optimiser opt_name solver optim_type opt_type optimizer_class "
        "optimizer.name optimizer.type optimizer._target_ optim.name optim.type optim._target_ opt.name optimizer.class_path "
        "optimizer.class_name optimizer.identifier optimizer_cls"
    ),
    "momentum": "momentum sgd_momentum optimizer_momentum mom nesterov_momentum",
    "beta1": "beta1 beta_1 adam_beta1 b1 adam_b1 opt_beta1 optimizer_beta1",
    "beta2": "beta2 beta_2 adam_beta2 b2 adam_b2 opt_beta2 optimizer_beta2",
    "epsilon": "epsilon eps adam_epsilon adam_eps opt_eps optimizer_eps optimizer_epsilon",
    "precision": (
        "precision amp mixed_precision fp16 bf16 use_amp dtype use_fp16 half use_mixed_precision fp16.enabled bf16.enabled amp_level float16 "
        "bfloat16 use_bf16 compute_dtype autocast_dtype autocast training_dtype precision_plugin train_precision apex mixed_precision_training"
    ),
    "loss_scale": (
        "loss_scale init_scale_fp16 initial_loss_scale init_loss_scale fp16_init_scale static_loss_scale fp16.loss_scale initial_scale_power "
        "fp16.initial_scale_power loss_scaling amp.init_scale scaler.init_scale grad_scaler.init_scale fp16.init_scale"
    ),
    "initialization": (
        "initialization init initialisation weight_init init_scale init_std initializer initializer_range init_type kernel_initializer "
        "init_method weight_initialization init_method_std initialization_std init_mode init_weights param_init weights_init "
        "initialization_scale winit init_fn weight_initializer initialize w_init init_scheme std_init sigma_init init_variance init.std init.name "
        "init.type init.gain "
        "initializer.name initializer.type initialization.name initialization.type initialization.std weight_init.name weight_init.type"
    ),
    "activation": (
        "activation act nonlinearity act_fn act_func activation_fn activation_function hidden_act act_layer activation_name non_linearity nonlin "
        "activation_func hidden_activation act_type activ activation.name nl rnn_nonlinearity"
    ),
    "normalization": (
        "normalization norm normalisation batchnorm batch_norm use_bn use_batchnorm use_batch_norm norm_layer norm_type layer_norm layernorm "
        "use_layernorm normalize_layers bn norm_cfg.type use_norm normalization_type use_layer_norm group_norm groupnorm"
    ),
    "model_width": (
        "model_width width hidden hidden_size hidden_dim n_embd d_model dim embed_dim embedding_dim hidden_units n_hidden num_hidden "
        "hidden_channels channels nhid emb_dim model_dim n_embed num_units hidden_width units encoder_embed_dim base_channels "
        "hidden_sizes hidden_dims layer_size nf dim_model latent_width hidden_features hiddens n_units hidden_layer_sizes "
        "feature_dim rnn_size rnn_dim lstm_units hidden_layer_size base_width base n_filters num_filters base_filters filters"
    ),
    "model_depth": (
        "model_depth depth n_layer n_layers num_layers num_hidden_layers layers nlayers encoder_layers num_blocks n_blocks depths "
        "num_encoder_layers num_hidden_layer hidden_layers n_hidden_layers num_transformer_layers blocks nlayer num_layer n_block"
    ),
    "model": (
        "model model_name arch architecture model_type net network backbone model_name_or_path _name_or_path model_arch model.name model.type "
        "model._target_ architectures net_type model_id base_model model.arch model.class_path pretrained_model_name_or_path network.name "
        "model_class net.name cnn model.architecture hf_model model_version policy_class"
    ),
    "dataset": (
        "dataset data_set dataset_name data.name dataset.name dataset._target_ data.dataset task_name data._target_ task data_name dataset_type "
        "data.dataset_name dataset_id train_dataset env_id env data_set_name corpus dataset_config_name env_name"
    ),
    "shuffle": "shuffle shuffle_train shuffle_data train_shuffle shuffle_dataset shuffle_train_data data_shuffle",
    "loss": (
        "loss criterion loss_fn loss_function loss_type loss_name loss.name loss._target_ loss.type criterion.name criterion._target_ objective "
        "loss_func criterion.type loss_fct lossfn"
    ),
    "frozen_parameters": (
        "frozen_parameters freeze frozen freeze_backbone freeze_encoder freeze_layers frozen_layers freeze_epochs freeze_until frozen_stages "
        "freeze_base freeze_params freeze_bn freeze_embeddings freeze_at freeze_features unfreeze trainable_layers freeze_feature_extractor "
        "frozen_prefixes frozen_modules freeze_body"
    ),
    "train_samples": (
        "train_samples n_train train_size num_train_samples num_train num_train_examples max_train_samples ntrain train_examples num_samples "
        "n_samples dataset_size num_training_samples n_train_samples training_samples train_num num_examples_train train_set_size samples "
        "max_train_examples train_num_samples n_training_samples subset_size train_subset"
    ),
    "val_samples": (
        "val_samples n_val val_size num_val_samples num_val n_valid max_eval_samples num_eval_samples val_set_size num_val_examples "
        "n_val_samples valid_size nval eval_samples validation_size max_val_samples"
    ),
    "classes": (
        "classes num_classes n_classes num_labels nb_classes nclass num_class n_class n_labels number_of_classes nclasses nc class_num n_way"
    ),
    "outputs": "outputs n_outputs num_outputs",
    "vocabulary": ("vocabulary vocab_size padded_vocab_size n_vocab vocab ntoken ntokens n_tokens_vocab vocabulary_size"),
    "parameters": (
        "parameters n_parameters num_parameters n_params num_params total_params params parameter_count model_parameters num_total_params "
        "total_parameters"
    ),
    "trainable_parameters": "trainable_parameters num_trainable_parameters trainable_params n_trainable num_trainable_params n_trainable_params",
    "seed": "seed random_seed manual_seed seed_everything rng_seed torch_seed random_state global_seed",
    "log_every": (
        "log_every log_interval logging_steps log_freq print_freq log_every_n_steps log_steps log_every_steps display print_every print_interval "
        "disp_freq log_period steps_per_print log_step report_interval log_every_n"
    ),
    "gpus": "gpus num_gpus n_gpu world_size num_devices n_gpus ngpus gpu_count nproc_per_node num_processes devices ngpu",
}
_BY_SPELLING = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}

# Parts of a configuration that are about something else than the training of this model.
_ELSEWHERE = _listed(
    "eval val valid validation test teacher inference generation predict tokenizer wandb logger checkpoint slurm launcher env environment "
    "sampler export eval_dataloader val_dataloader test_dataloader val_data test_data val_loader test_loader checkpointing logging callbacks "
    "cluster profiler ema job sweep hydra docker quantization_config generation_config task_specific_params"
)
# Leaves that mean nothing without the part before them, or mean something else below it.
_GENERIC = _listed(
    "epoch steps params samples clip init norm drop l2 batch dim task env env_id step_size channels units objective net smoothing width "
    "classes display devices solver blocks accumulate half max_norm eps dtype loss"
)
_WELCOME = _listed(
    "train training trainer model optim optimizer hparams hyperparameters config args params data dataset solver opt hp grad gradient "
    "network architecture arch net init_args optimizer_config grad_clip hyper_parameters hyperparams cfg training_args trainer_args common "
    "optimization run experiment exp loop encoder decoder backbone module main base default defaults settings main_params gradient_clipping "
    "clip kwargs mlp transformer gpt value"
)
_WORDS = re.compile(r"[\s\-:/]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_INDEX = re.compile(r"\[?\d+\]?")


def _leaf(part: str) -> str:
    return _WORDS.sub("_", _CAMEL.sub("_", part.strip().lstrip("-"))).lower()


def setting_name(key: str) -> str:
    """The canonical name of a configuration key such as `optim.lr` or `--batch-size`, "" when the vocabulary does not know it."""
    if len(key) > 200:
        return ""
    parts = [_leaf(p) for p in key.replace("/", ".").split(".") if p and not _INDEX.fullmatch(p)]
    if not parts:
        return ""
    leaf, above = parts[-1], parts[:-1]
    if leaf == "patience" and above and "early" in above[-1]:
        return leaf  # wherever the callback stands
    if not _ELSEWHERE.isdisjoint(above):
        return ""
    if above:
        pair = _BY_SPELLING.get(f"{above[-1]}.{leaf}") or (
            _BY_SPELLING.get(f"{above[-2]}.{leaf}") if len(above) > 1 and above[-1] in ("params", "init_args", "kwargs") else None
        )
        if pair:
            return pair
        if "warmup" in above[-1] and leaf in ("steps", "epochs", "iters", "ratio", "num_steps", "lr"):
            return "" if leaf == "lr" else "warmup"
    if leaf in _GENERIC and above and above[-1] not in _WELCOME:
        return ""
    return _BY_SPELLING.get(leaf, "")
